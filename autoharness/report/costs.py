"""Costs of the edits of one settings identity, and of their simulations, by role.

Single held-out simulations that were run by hand are left out of the sums: what such a run adds to a sum would tell
how it went.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from autoharness.core.outcomes import ROLES, Usage, priced
from autoharness.report.overview import Overview
from autoharness.report.visible_trials import Kept
from autoharness.vault.ledger_rows import Measured
from autoharness.vault.spending import CODER, counted_trials, trial_name
from autoharness.vault.store import Store


@dataclass(frozen=True)
class Coding:
    """What the coding agent used."""

    edits: int
    tokens: int
    usd: float
    seconds: float


@dataclass(frozen=True)
class Costs:
    coding: Coding
    usage: dict[str, Usage]
    """By role, of all simulations that are counted here."""
    outside_usd: float
    """The cost of simulations that the loop did not pay for: prepare's, and those that were run by hand."""
    loop_usd: float
    """What the loop spent under these settings, with simulations that infrastructure failed."""
    others_usd: float
    """What the loop spent under other settings."""
    uncosted_calls: tuple[int, int]
    """How many calls have no known price: in what the loop spent, and outside."""

    @property
    def total_usd(self) -> float:
        return self.loop_usd + self.outside_usd

    @property
    def words(self) -> str:
        """Such as "$4.20: $3.20 by the loop, $1.00 by prepare and by hand; and $7.00 under other settings"."""
        by_loop, outside = self.uncosted_calls
        total = priced(self.total_usd, by_loop + outside, 2)
        others = f"; and ${self.others_usd:.2f} under other settings" if self.others_usd else ""
        loop = priced(self.loop_usd, by_loop, 2)
        return f"{total}: {loop} by the loop, {priced(self.outside_usd, outside, 2)} by prepare and by hand{others}"

    @classmethod
    def of(cls, overview: Overview, trials: Sequence[Kept], tasks: Sequence[str], store: Store) -> "Costs":
        """`tasks`: those whose single results may be shown."""
        shown, decided = set(tasks), _decided(overview)
        trials = [one for one in trials if one.outcome.trial.task_id in shown or one.name in decided]
        usage = {role: Usage() for role in ROLES}
        for kept in trials:
            for role, used in kept.outcome.usage.items():
                usage[role] = usage.get(role, Usage()) + used
        paid = counted_trials(store, {one.iteration.number for one in overview.attempts if one.iteration})
        outside = [one.outcome for one in trials if trial_name(one.outcome.trial) not in paid]
        loop_usd = sum(one.spent.total for one in overview.attempts)
        edits = [one.iteration.edit for one in overview.attempts if one.iteration and one.iteration.edit]
        coding = Coding(
            edits=len(edits),
            tokens=sum(edit.tokens for edit in edits),
            usd=sum(one.spent.usd.get(CODER, 0.0) for one in overview.attempts),
            seconds=sum(edit.seconds for edit in edits),
        )
        outside_usd = sum(one.cost_usd for one in outside)
        by_loop = sum(sum(one.spent.uncosted_calls.values()) for one in overview.attempts)
        by_hand = sum(used.uncosted_calls for one in outside for used in one.usage.values())
        others_usd = max(0.0, overview.spent.total - loop_usd)
        return cls(coding, usage, outside_usd, loop_usd, others_usd, (by_loop, by_hand))


def _decided(overview: Overview) -> set[str]:
    """The names of the trials that rows of the ledger rest on."""
    rows = overview.ledger.rows
    looks = [look for row in rows for look in row.looks]
    looks += [look for row in rows if isinstance(row, Measured) for look in [*row.score_looks, *row.suite_looks]]
    return {look.key for look in looks}
