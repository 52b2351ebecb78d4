"""The results that `benchmark.py` prints for a run: as lines that grep finds, and as JSON.

All figures are over the tasks that the printed mean is over (`held_out`); a part of a held-out split has no
figures. What a single held-out task took to run stays hidden with its result.
"""

from collections import Counter
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from autoharness.commands.published_scores import reasons
from autoharness.core.held_out import Shown, shown
from autoharness.core.outcomes import (
    REPLAYED_OTHERWISE,
    Outcome,
    Rewards,
    Status,
    Usage,
    by_task,
    dollars,
    known_cost,
    natural_order,
    passed,
    usage_by_role,
)
from autoharness.core.pass_k import Repeats
from autoharness.core.settings import HARNESS, SIMULATED
from autoharness.core.stats import score_line
from autoharness.engine.score_identity import Measure
from autoharness.engine.trial_runner import Run
from autoharness.vault.workspace import Changes

Json = dict[str, Any]


@dataclass(frozen=True)
class Scorecard:
    """The part of a run that may be shown."""

    run: Run
    measure: Measure
    result: Shown
    changes: Changes | None

    @classmethod
    def of(cls, run: Run, measure: Measure, changes: Changes | None, reveal: bool) -> "Scorecard":
        rewards = run.rewards if reveal else _without_unfinished(run, measure)
        result, dropped = shown(rewards, measure.held_out_splits, reveal), len(run.rewards) - len(rewards)
        counted = replace(result, held_out=result.held_out + dropped, withheld=result.withheld + dropped)
        return cls(run, measure, counted, changes)

    @cached_property
    def scored(self) -> list[Outcome]:
        """The simulations that the printed figures are over."""
        return [outcome for outcome in self.run.outcomes if outcome.trial.task_id in self.result.scored]

    @cached_property
    def repeats(self) -> Repeats:
        return Repeats.of(self.scored, self.measure.experiment.trials)

    @cached_property
    def statuses(self) -> dict[str, int]:
        counts = Counter(outcome.status for outcome in self.scored)
        return {str(status): counts[status] for status in Status if counts[status]}

    @property
    def not_comparable(self) -> list[str]:
        """Why its mean does not compare with published ones."""
        return reasons(self.measure, self.run.outcomes, self.scored)

    @cached_property
    def usage(self) -> dict[str, Usage]:
        """By role: what these trials took, whenever they were run, stored ones included."""
        return usage_by_role(self.scored)

    @property
    def cost_usd(self) -> float | None:
        """None if a price is unknown."""
        return known_cost(self.usage.values())

    @property
    def lines(self) -> list[str]:
        result = self.result
        lines = []
        if result.scored or not result.withheld:
            score = score_line(result.scored.values(), self.measure.experiment.trials)
            lines += [f"val_score: {score}", *self.repeats.lines]
        if result.withheld:
            lines.append(f"held_out: {result.withheld} tasks were run; a part of a held-out split shows no score")
        elif result.held_out:
            lines.append(f"held_out: {result.held_out} tasks")
        lines += self.changes.lines if self.changes else []
        lines += [_line(task_id, result.rewards[task_id]) for task_id in sorted(result.rewards, key=natural_order)]
        if self.statuses:
            lines.append(f"statuses: {', '.join(f'{status} {count}' for status, count in self.statuses.items())}")
        lines += [_usage_line(self.usage)] if self.usage else []
        if self.measure.experiment.agent != HARNESS:
            what = f"{self.measure.experiment.agent}  (an agent of tau2's own, not the harness)"
            lines += [f"baseline_agent: {what}", f"control: {what}"]  # the second as earlier versions said it
        if self.measure.experiment.replay_tolerance:
            differed = sum(any(note.startswith(REPLAYED_OTHERWISE) for note in one.notes) for one in self.scored)
            lines.append(f"replay_tolerance: {differed} simulations were replayed with harmless differences")
        lines.append(f"isolation: {self.measure.isolation}")
        return [*lines, SIMULATED] if self.measure.experiment.simulated else lines

    def to_json(self) -> Json:
        result, named = self.result, [one for one in self.run.outcomes if one.trial.task_id in self.result.rewards]
        return {
            "val_score": result.val_score,
            "agent": self.measure.experiment.agent,
            **self.repeats.to_json(),
            "results": result.rewards,
            "statuses": by_task((one.trial.task_id, str(one.status)) for one in named),
            "status_counts": self.statuses,
            "held_out": {"tasks": result.held_out, "withheld": result.withheld},
            "changes": asdict(self.changes) if self.changes else None,
            "isolation": self.measure.isolation,
            "layers": self.measure.facts["layers"],
            "simulated": self.measure.experiment.simulated,
            "not_comparable": self.not_comparable,
            "usage": {role: asdict(used) | {"cost_usd": known_cost([used])} for role, used in self.usage.items()},
            "cost_usd": self.cost_usd,
        }


def _without_unfinished(run: Run, measure: Measure) -> Rewards:
    """A mean over some trials of held-out tasks, beside one over fewer, would tell how a single one ended."""
    trials = by_task((outcome.trial.task_id, outcome) for outcome in run.outcomes)
    unfinished = {task_id for task_id in measure.held_out if len(trials.get(task_id, [])) < measure.experiment.trials}
    return {task_id: reward for task_id, reward in run.rewards.items() if task_id not in unfinished}


def _usage_line(usage: dict[str, Usage]) -> str:
    """Such as "usage: agent 12 calls, 3456 tokens, $0.0012; user 11 calls, 2345 tokens, $0.0008"."""
    parts = []
    for role, used in usage.items():
        cached = f" and {used.cached_calls} cached" if used.cached_calls else ""
        parts.append(f"{role} {used.calls} calls{cached}, {used.tokens} tokens, {dollars(used)}")
    return f"usage: {'; '.join(parts)}"


def _line(task_id: str, reward: float | None) -> str:
    if reward is None:
        return f"  INFRA_ERR  {task_id}: N/A"
    return f"  {'PASS' if passed(reward) else 'FAIL'}  {task_id}: {reward:.2f}"
