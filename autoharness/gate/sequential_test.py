"""The default policy's sequential test: it takes pairs of trials and ends as soon as it has seen enough.

Each pair is one trial of the candidate and what the incumbent reaches in the same task. The test adds up the
differences, in tasks: the sum is +4 if the candidate is four tasks ahead.

     bar  ------------------------------------------  accepted: the acceptance threshold
          start 0   ... moves up and down ...   /
    -ROOM ....................................../      rejected: below a line that rises by SLOPE with every pair

The two lines close in, so that an edit that changes nothing does not cost for ever: a triangular test (Anderson,
Annals of Mathematical Statistics 31 (1960), 165-197; Whitehead, The Design and Analysis of Sequential Clinical
Trials, 2nd ed. 1997). The acceptance threshold rises with the gate runs since the last accepted edit: enough gate
runs accept an edit by luck. The constants were chosen in the first world of perf/gate_quality.py (docs/gate.md).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

START = 5.0
"""The acceptance threshold, in tasks, of the first gate run against a new incumbent."""
RISE = 0.5
"""How much the acceptance threshold rises, in tasks, with each doubling of the gate runs."""
ROOM = 3.0
"""How many tasks a candidate may fall behind at the start."""
SLOPE = 0.03
"""What a candidate has to gain with each pair, in tasks: half of the gain that is worth finding."""
AT_THE_END = 0.5
"""The part of the acceptance threshold that is enough once no further trial may be bought."""

_ROUNDING = 1e-9
_POWER = 0.8


def bar(questions: int) -> float:
    """How far ahead, in tasks, a candidate must be. `questions`: earlier gate runs since the last acceptance."""
    return START + RISE * math.log2(1 + questions)


@dataclass
class Walk:
    """The test so far: how many tasks the candidate is ahead, after how many pairs."""

    bar: float
    ahead: float = 0.0
    pairs: int = 0
    accepted: bool | None = None
    """None as long as neither line is met; after that it does not change."""

    def take(self, difference: float) -> None:
        """One more pair."""
        if self.accepted is not None:
            return
        self.pairs += 1
        self.ahead += difference
        if self.ahead >= self.bar - _ROUNDING:
            self.accepted = True
        elif self.ahead <= SLOPE * self.pairs - ROOM + _ROUNDING:
            self.accepted = False

    def end(self, differences: Iterable[float]) -> bool:
        """Whether the test ends in acceptance. `differences`: those of all pairs that are left."""
        left = iter(differences)
        while self.accepted is None and (difference := next(left, None)) is not None:
            self.take(difference)
        return self.ahead >= AT_THE_END * self.bar - _ROUNDING if self.accepted is None else self.accepted

    @property
    def needs(self) -> str:
        """What decided: such as "needs 5.0 to be accepted"."""
        if self.accepted is None:
            return f"these are all, so {in_tasks(AT_THE_END * self.bar)} is enough to be accepted"
        needs = f"needs {in_tasks(self.bar)} to be accepted"
        if self.accepted or self.ahead < 0:
            return needs
        return f"{needs}, and by now more than {in_tasks(SLOPE * self.pairs - ROOM)} to go on"


def in_tasks(amount: float) -> str:
    """A sum of differences, such as "5.0"; with two decimals if one would round it, and those are rounded down."""
    tenths = 10 * amount
    if abs(tenths - round(tenths)) < _ROUNDING:
        return f"{amount:.1f}"
    return f"{math.floor(100 * amount + _ROUNDING) / 100:.2f}"


def walk(differences: Iterable[float], bar: float) -> tuple[bool, int]:
    """Whether the test ends in acceptance, and after how many pairs. `differences`: all pairs that may be bought."""
    taken = Walk(bar)
    return taken.end(differences), taken.pairs


def operating_point(bar: float, pairs: int, differing: float, gain: float) -> tuple[float, float]:
    """The exact probability that an edit is accepted, and the expected number of pairs until the verdict.

    `differing`: the share of pairs whose two rewards differ; `gain`: the edit's, in [-differing, differing]. The
    test is followed state by state (rewards of 0 and 1, one trial of the incumbent for each of the candidate's).
    """
    up, down = (differing + gain) / 2, (differing - gain) / 2
    where, accepted, expected = {0: 1.0}, 0.0, 0.0
    for pair in range(1, pairs + 1):
        expected += sum(where.values())
        after: dict[int, float] = {}
        for ahead, chance in where.items():
            for step, share in ((1, up), (0, 1 - up - down), (-1, down)):
                after[ahead + step] = after.get(ahead + step, 0.0) + chance * share
        accepted += sum(chance for ahead, chance in after.items() if ahead >= bar - _ROUNDING)
        floor = SLOPE * pair - ROOM + _ROUNDING
        where = {ahead: chance for ahead, chance in after.items() if floor < ahead < bar - _ROUNDING}
    return accepted + sum(chance for ahead, chance in where.items() if ahead >= AT_THE_END * bar), expected


def detectable_gain(bar: float, pairs: int, differing: float) -> float | None:
    """The gain that is accepted four times in five; None if even the largest possible one is not."""
    low, high = 0.0, differing
    if operating_point(bar, pairs, differing, high)[0] < _POWER:
        return None
    for _ in range(12):
        middle = (low + high) / 2
        enough = operating_point(bar, pairs, differing, middle)[0] >= _POWER
        low, high = (low, middle) if enough else (middle, high)
    return high
