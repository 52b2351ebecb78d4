"""Checks that an edit must pass before it may cost a gate run, from the cheapest to the dearest.

    problem_of   it is text, Python, changed, without a key, and does what an agent file does
    its leaks    `leak_scan`: no record of the benchmark is in it
    smoke        conversations with it run to an end, in train tasks that the incumbent passes
    claims       it does not lose against the incumbent in the failures that it is to fix

`problem_of` reads the program as text (`source_text`, `forbidden_uses`): what it refuses could be written so that it
is not found. It is no protection; the agent host's confinement is. It says at once, and at no cost, what would fail
or be noticed there.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autoharness.benchmarks.leaks import scan_process
from autoharness.core.outcomes import EVALUATED, Outcome, Rewards, Status, Trial, passed, settled_rewards
from autoharness.core.redaction import without_whole_keys
from autoharness.core.stats import at_least
from autoharness.engine.trial_runner import Bench

_SMOKE_TASKS = 2
_MOST_CLAIMS = 8
"""How many of the tasks that an edit is to fix are run."""
FEW, MORE = 1, 3
"""In how many fresh trials of each: more if the edit is behind after one."""
_FEWEST_PAIRS = 4
"""With fewer even an edit that loses everywhere could do so by chance."""
_CHANCE = 0.1
"""An edit is refused if it loses more often than an edit that changes nothing does with this probability."""


@dataclass(frozen=True)
class Screened:
    """The result of the trials."""

    refusal: str
    """Why it is refused; "" if it goes on to the gate."""
    rewards: Rewards
    """The rewards of the tasks that it is to fix."""
    is_behind: bool = False
    """Whether it loses in these, which may be chance: more trials tell."""


def problem_of(source: bytes, incumbent: str) -> str:
    """Why there is nothing to run; "" if there is. Raises SetupError if no file can be checked."""
    if has_key(source):
        return "the file has a key in it"
    try:
        text = source.decode()
    except UnicodeDecodeError as error:
        return f"the file is no UTF-8 text: line {source[: error.start].count(10) + 1}"
    return "the file is unchanged" if text == incumbent else scan_process.problem_of(text, incumbent)


def has_key(source: bytes) -> bool:
    """Whether a key of this environment is in it: then it is not kept anywhere."""
    text = source.decode(errors="replace")
    return bool(without_whole_keys(text) != text)


def smoke_trials(bench: Bench, before: Rewards) -> list[Trial]:
    """Trials in train tasks that the incumbent passes; in others if it passes none."""
    tasks = sorted(bench.measure.train, key=lambda task_id: not passed(before.get(task_id)))
    return [bench.measure.trial(task_id, 0, bench.agent) for task_id in tasks[:_SMOKE_TASKS]]


def smoke_refusal(outcomes: Sequence[Outcome]) -> str:
    """If the agent's own error ended every conversation, the file does not work."""
    broken = [one for one in outcomes if one.status in (Status.AGENT_ERROR, Status.TIMED_OUT)]
    evaluated = [one for one in outcomes if one.status in EVALUATED]
    if not broken or len(broken) < len(evaluated):
        return ""
    return f"it does not run to an end in {len(broken)} train tasks: {broken[0].detail[:300]}"


def claimed(fixes: Sequence[str], before: Rewards) -> list[str]:
    """The tasks that an edit is to fix and that can be checked: the incumbent failed them."""
    failed = [task_id for task_id in fixes if before.get(task_id) is not None and not passed(before[task_id])]
    return list(dict.fromkeys(failed))[:_MOST_CLAIMS]


def more(tasks: Sequence[str]) -> int:
    """How many fresh trials of each task tell chance from loss."""
    return max(MORE, math.ceil(_FEWEST_PAIRS / len(tasks))) if tasks else 0


def claim_trials(bench: Bench, incumbent: str, tasks: Sequence[str], fresh: int) -> list[Trial]:
    """The edit in the trials that the incumbent failed, and both sides in fresh ones: failing may be chance, too."""
    first = bench.experiment.trials
    numbers = range(first, first + fresh)
    sides = [(0, bench.agent), *((number, agent) for number in numbers for agent in (bench.agent, incumbent))]
    return [bench.measure.trial(task_id, number, agent) for number, agent in sides for task_id in tasks]


def claims(outcomes: Sequence[Outcome], candidate: str) -> Screened:
    """Refuse an edit that loses in the very tasks it is to fix, and more often than chance explains.

    What infrastructure lost counts for neither side.
    """
    first = [one for one in outcomes if one.trial.agent == candidate and one.trial.number == 0]
    rewards = settled_rewards(first)
    ours, theirs = (_rewards(outcomes, candidate, mine) for mine in (True, False))
    differences = [ours[trial] - theirs[trial] for trial in ours.keys() & theirs.keys()]
    ahead = sum(map(passed, rewards.values())) + sum(differences)
    won, lost = (sum(sign * one > 0 for one in differences) for sign in (1, -1))
    if ahead >= 0 or at_least(lost, [0.5] * (won + lost)) > _CHANCE:
        return Screened("", rewards, is_behind=ahead < 0)
    tasks = f"{len(rewards)} tasks that it is to fix" if len(rewards) != 1 else "task that it is to fix"
    trials = f"in {lost} of {len(differences)} trials, and wins {won}"
    again = "the same edit may come again with another prediction, or with none"
    return Screened(f"in the {tasks} it loses against the version that is kept {trials}; {again}", rewards)


def _rewards(outcomes: Sequence[Outcome], candidate: str, mine: bool) -> Mapping[tuple[str, int], float]:
    """The rewards of its fresh trials, by task and number."""
    some = [one for one in outcomes if one.trial.number and (one.trial.agent == candidate) == mine]
    return {(one.trial.task_id, one.trial.number): one.reward for one in some if one.reward is not None}
