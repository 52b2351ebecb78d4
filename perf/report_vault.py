"""A vault as a long run leaves it, made up: so many edits, so many train tasks, a conversation for each of them.

It is written with the package's own ledger, iterations and store, so that the report reads it as any other; what is
in it was drawn from a seed. For perf/report_page.py, and for the tests of the page.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autoharness.core.outcomes import Outcome, Status, Trial, Usage, digest
from autoharness.core.settings import SEQUENTIAL, Experiment
from autoharness.gate.gate_run import FIRST_TRIAL
from autoharness.vault.iterations import ACCEPTED, REFUSED, REJECTED, Edit, Iteration, Iterations
from autoharness.vault.ledger import Ledger
from autoharness.vault.ledger_rows import Baseline, Gate, Look, Record, Side
from autoharness.vault.spending import FILE as SPENDING
from autoharness.vault.store import Store

MEASURE = "measure"
HELD_OUT = [f"held-{number}" for number in range(8)]
_ENDS = (REJECTED, REJECTED, REJECTED, REFUSED)
_TIME = "2026-11-26T01:00:00+00:00"


@dataclass(frozen=True)
class Night:
    """What is made up."""

    edits: int
    tasks: Sequence[str]
    text: str = "Hello, I want to return the lamp of order #W1234567."
    """What the customer says, what the coding agent notes, and what an edit adds to the agent file."""
    every_edit: bool = False
    """Whether every edit was run on every train task, and not only those that were kept."""
    seed: int = 0
    trials: int = 1
    """Trials of each task for a score; the settings say so, and none is run."""
    gate: str = SEQUENTIAL
    accepted: int = 4
    """One edit in so many is."""


def make_night(folder: Path, night: Night) -> Store:
    """Writes the vault and returns it."""
    store, draw = Store(folder), random.Random(night.seed)
    ledger, iterations = Ledger(store, MEASURE), Iterations(store)
    settings = Experiment(agent_model="offline/clerk", trials=night.trials, gate=night.gate).to_json()
    common: Any = {"measure": MEASURE, "measured": "made up", "experiment": settings, "tasks": HELD_OUT}
    incumbent = store.keep_agent(b"# the baseline\n")
    rate, before = 0.4, _run(store, night, draw, incumbent, 0.4)
    looks = _looks(store, draw, incumbent, Side.CANDIDATE, rate, 2)
    scores = {look.task_id: look.reward for look in looks}
    row = ledger.append(
        Baseline(**common, agent=incumbent, held_out=scores, train=before, val_score=_mean(scores), score_looks=looks)
    )
    for number in range(1, night.edits + 1):
        end = REJECTED if number % 7 == 0 else ACCEPTED if number % night.accepted == 0 else _ENDS[number % 4]
        source = f"# the baseline\n# edit {number}\n# {night.text}\n"
        agent = store.keep_agent(source.encode())
        gained = rate + (0.005 if end == ACCEPTED else -0.01)
        everything = night.every_edit or end == ACCEPTED
        after = _run(store, night if everything else _few(night), draw, agent, gained)
        gate = None
        if end != REFUSED:
            gate = ledger.append(
                Gate(
                    **common,
                    agent=agent,
                    incumbent=incumbent,
                    verdict=end,
                    answered=end,
                    reasons=["the regression suite is empty", night.text],
                    order=str(number),
                    incumbent_first_trial=FIRST_TRIAL,
                    looks=[
                        *_looks(store, draw, incumbent, Side.INCUMBENT, rate, 0),
                        *_looks(store, draw, incumbent, Side.INCUMBENT, rate, 1),
                        *_looks(store, draw, agent, Side.CANDIDATE, gained, 0),
                    ],
                    held_out=scores if end == ACCEPTED else {},
                    val_score=_mean(scores) if end == ACCEPTED else None,
                    score_looks=looks if end == ACCEPTED else [],
                )
            )
        edit = Edit(
            agent, note=f"edit {number}: {night.text}", fixes=list(night.tasks[:2]), seconds=60.0, cost_usd=0.5
        )
        iterations.save(
            Iteration(
                number,
                MEASURE,
                incumbent,
                "main",
                "made up",
                before=before,
                edit=edit,
                after=after,
                gate=gate.number if gate else -1,
                end=end,
                reasons=gate.reasons if gate else [night.text],
                seconds=600.0,
                started=f"2026-11-26T01:{number // 60:02}:{number % 60:02}+00:00",
                finished=_TIME,
            )
        )
        usd = {"coding agent": 0.5}
        with (store.folder / SPENDING).open("a") as file:
            file.write(json.dumps({"time": _TIME, "iteration": number, "usd": usd}) + "\n")
            file.write(json.dumps({"time": _TIME, "iteration": number, "usd": {"agent": 0.2, "user": 0.1}}) + "\n")
        if gate and end == ACCEPTED:
            ledger.append(
                Record(measure=MEASURE, agent=agent, gate=gate.number, iteration=number, commit=digest(number)[:40])
            )
            incumbent, rate, before = agent, gained, after
            looks = _looks(store, draw, incumbent, Side.CANDIDATE, rate, 2)
            scores = {look.task_id: look.reward for look in looks}
    assert row.number == 0
    return store


def _few(night: Night) -> Night:
    return replace(night, tasks=night.tasks[: max(1, len(night.tasks) // 10)])


def _run(store: Store, night: Night, draw: random.Random, agent: str, rate: float) -> dict[str, float | None]:
    """Each train task once; a tenth of them twice."""
    rewards: dict[str, float | None] = {}
    for place, task_id in enumerate(night.tasks):
        for number in range(2 if place % 10 == 9 else 1):
            reward = float(draw.random() < rate)
            _keep(store, Trial(task_id, number, number, agent), reward, _conversation(night.text, reward))
            rewards.setdefault(task_id, reward)
    return rewards


def _looks(store: Store, draw: random.Random, agent: str, side: Side, rate: float, number: int) -> list[Look]:
    looks = []
    for task_id in HELD_OUT:
        reward = float(draw.random() < rate)
        trial = Trial(task_id, FIRST_TRIAL + number, number, agent)
        key = _keep(store, trial, reward, _conversation("held out: hush", reward))
        looks.append(Look(side, task_id, trial.number, reward, key))
    return looks


def _keep(store: Store, trial: Trial, reward: float, messages: list[dict[str, Any]]) -> str:
    key = {"domain": "retail", "agent": trial.agent, "task": trial.task_id, "trial": trial.number, "seed": trial.seed}
    check = {"action": {"name": "return_item", "arguments": {"order": "#W1234567"}, "requestor": "assistant"}}
    outcome = Outcome(
        trial,
        Status.PASSED if reward else Status.FAILED,
        reward,
        termination="user_stop",
        reward_info={"reward": reward, "action_checks": [{**check, "action_match": bool(reward)}]},
        messages=messages,
        database_diff=[]
        if reward
        else [{"path": "agent.orders.#W1234567.status", "expected": "returned", "actual": "delivered"}],
        usage={"agent": Usage(3, 3000, 200, 0.01, latency_s=4.0), "user": Usage(3, 900, 100, 0.005, latency_s=3.0)},
        duration_s=8.0,
        started=_TIME,
    )
    usage = {role: vars(used) for role, used in outcome.usage.items()}
    document = vars(outcome) | {"trial": vars(trial), "usage": usage}  # as to_json has it, without copying
    text = json.dumps({"key": key, "outcome": document})
    store.trial_file(digest(key)).write_text(text)  # without a sync: there are thousands
    return digest(key)


def _conversation(text: str, reward: float) -> list[dict[str, Any]]:
    order = "#W1234567" if reward else "#W7654321"
    call = {"id": "1", "name": "return_item", "arguments": {"order": order, "why": text}}
    return [
        {"role": "assistant", "content": "Hi! How can I help you today?"},
        {"role": "user", "content": text},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "id": "1", "content": json.dumps({"order": order, "status": text}), "error": False},
        {"role": "assistant", "content": f"That is done now: {text}"},
        {"role": "user", "content": "Thank you. ###STOP###"},
    ]


def _mean(scores: dict[str, float | None]) -> float:
    known = [score for score in scores.values() if score is not None]
    return sum(known) / len(known)
