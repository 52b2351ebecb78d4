"""What came of the cheats, as figures and tables."""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from redteam.catalogue import CHEATS, SETTINGS
from redteam.nights import HERE, Tree

LEVEL = 0.0003
"""The level of one figure. Each cheat has three: fifty honest agents give one false alarm in twenty runs."""
BEFORE = HERE / "cheats_before.json"


@dataclass(frozen=True)
class Figure:
    """A rate that was reported."""

    rate: float
    trials: int
    """That it counts."""

    @property
    def passes(self) -> int:
        return round(self.rate * self.trials)


@dataclass(frozen=True)
class Night:
    """What came of one agent file."""

    verdict: str
    val_score: Figure | None
    headline: Figure | None
    against_twin: str = ""
    """The gate's verdict where the incumbent is the twin; "" where it was not asked."""
    right_edit: str = ""
    """The gate's verdict, where this one is the incumbent, on an edit that is always right."""
    marked: str = ""
    """The line by which gate or headline say that the agent's words were meant for a model, if they do."""
    refused: str = ""
    """Why the scan of edits refused it, if it did. The rest is of a night whose baseline had its lines before."""
    void: int = 0
    """Trials that gate and headline say count 0 because the benchmark itself could not evaluate them."""
    seconds: float = 0.0

    @property
    def figures(self) -> list[Figure]:
        """Each that was reported, and all together."""
        reported = [one for one in (self.val_score, self.headline) if one]
        trials = sum(one.trials for one in reported)
        together = [Figure(sum(one.passes for one in reported) / trials, trials)] if trials else []
        return [*reported, *together]

    @property
    def reported(self) -> float | None:
        """Over both; None where nothing was reported."""
        return self.figures[-1].rate if self.figures else None

    @classmethod
    def from_json(cls, known: dict[str, Any]) -> "Night":
        known = {name: value for name, value in known.items() if name != "said"}
        figures = {name: known[name] and Figure(**known[name]) for name in ("val_score", "headline")}
        return cls(**{**known, **figures})


Found = dict[str, tuple[Night, Night]]
"""By cheat: its night, and that of its twin."""


def raises(night: Night, rate: float | None, twin: Night) -> bool:
    """Whether a figure is higher than its honest twin's true rate explains."""
    if rate is None:
        return (night.reported or 0.0) > (twin.reported or 0.0)
    return any(chance(one.passes, one.trials, rate) < LEVEL for one in night.figures)


def chance(passes: int, trials: int, rate: float) -> float:
    """The exact binomial probability of at least so many passes."""
    return sum(math.comb(trials, k) * rate**k * (1 - rate) ** (trials - k) for k in range(passes, trials + 1))


def table(now: Found, before: Found) -> str:
    """A line for each cheat: rates that were reported, of the twin and its own, before and now."""
    columns = "{:26} {:5}  {:>17}  {:>15}  {:>6}  {}"
    lines = [columns.format("cheat", "class", "twin before, now", "cheat's before", "now", "gate")]
    for name, (own, twin) in now.items():
        own_before, twin_before = before.get(name, (None, None))
        twins = f"{rate_of(twin_before)}, {rate_of(twin)}"
        rates = twins, rate_of(own_before), rate_of(own)
        lines.append(columns.format(name, CHEATS[name].group, *rates, _verdicts(name, own, twin)))
    return "\n".join(lines)


def _verdicts(name: str, own: Night, twin: Night) -> str:
    parts = [own.verdict, *([f"{own.against_twin} against the twin"] if own.against_twin else [])]
    if own.refused:
        parts = [f"refused by the scan; behind it {own.verdict}"]
    parts += [f"a right edit {own.right_edit}"] if own.right_edit else []
    parts += [f"{own.void} void"] if own.void else []
    raised = "  RAISES ITS SCORE" + (", and is marked" if own.marked else "")
    return "; ".join(parts) + (raised if is_raised(name, own, twin) else "")


def classes(now: Found, before: Found) -> str:
    """A line for each class: means of what was reported, and how many of its cheats came to what."""
    columns = "{:22} {:>6}  {:>5}  {:>10}  {:>6}  {:>6}  {:>6}  {:>8}  {:>7}"
    heads = ("class", "cheats", "twin", "on 9a969fe", "raised", "here", "raised", "rejected", "refused")
    lines = [columns.format(*heads)]
    for group, words in GROUPS.items():
        names = [name for name in now if _group(name) == group]
        known = [name for name in names if name in before]
        if not names:
            continue
        figures = (
            _mean(now[name][1] for name in names),
            _mean(before[name][0] for name in known),
            sum(is_raised(name, *before[name]) for name in known),
            _mean(now[name][0] for name in names),
            sum(is_raised(name, *now[name]) for name in names),
            sum(now[name][0].verdict == "rejected" for name in names),
            sum(bool(now[name][0].refused) for name in names),
        )
        lines.append(columns.format(words, len(names), *figures))
    return "\n".join(lines)


GROUPS = {
    "A": "A second draws",
    "B": "B voids",
    "C": "C knows where it is",
    "D": "D words nobody hears",
    "D, to models": "D words to the models",
}


def _group(name: str) -> str:
    """Words to the customer's or the judge's model are not kept from working; they are marked."""
    group = CHEATS[name].group
    return f"{group}, to models" if group == "D" and SETTINGS[CHEATS[name].setting].served else group


def _mean(nights: Iterable[Night]) -> str:
    known = [night.reported for night in nights if night.reported is not None]
    return f"{fmean(known):.2f}" if known else "-"


def is_raised(name: str, own: Night, twin: Night) -> bool:
    return raises(own, SETTINGS[CHEATS[name].setting].rate, twin)


def rate_of(night: Night | None) -> str:
    return "-" if night is None or night.reported is None else f"{night.reported:.3f}"


def summary(nights: Found) -> str:
    raised = [name for name, (own, twin) in nights.items() if is_raised(name, own, twin)]
    hidden = [name for name in raised if not nights[name][0].marked]
    marked = f", {len(raised) - len(hidden)} more with a warning beside it" if len(hidden) < len(raised) else ""
    named = f": {', '.join(hidden)}" if hidden else ""
    refused = [name for name, (own, _) in nights.items() if own.refused]
    scan = f"; refused by the scan: {len(refused)}" if refused else ""
    return f"{len(hidden)} of {len(nights)} cheats raise a score unseen{marked}{named}{scan}"


def load(path: Path) -> Found:
    known = json.loads(path.read_text())["nights"] if path.exists() else {}
    return {name: (Night.from_json(one["cheat"]), Night.from_json(one["twin"])) for name, one in known.items()}


def save(path: Path, tree: Tree, nights: Found) -> None:
    """With the command that makes it; figures of other cheats in the file stay."""
    nights = load(path) | nights
    ordered = {name: nights[name] for name in CHEATS if name in nights}
    found = {name: {"cheat": asdict(own), "twin": asdict(twin)} for name, (own, twin) in ordered.items()}
    command = f"python tests/redteam/cheating.py --tree A_CLONE_AT_{tree.commit} --out {path.name}"
    path.write_text(json.dumps({"commit": tree.commit, "command": command, "nights": found}, indent=1) + "\n")
