"""An agent that is wrong half of the time, knows it, and may try everything: is its score one half?

    python tests/redteam/twenty_seeds.py [--tree DIR] [--seeds N] [--first 300]

For each root seed a night with a vault of its own: the gate's `val_score` and the headline over 40 tasks each, with
the 95 % intervals that the commands print. About one interval in twenty leaves out the truth by chance. It cheats by
nothing that the screening of edits refuses; if that changes, its nights say so, and it is played behind the scan, as
`cheating` does.
"""

import argparse
import re
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[1] / below) for below in ("", "support")]

from redteam.catalogue import BASELINE, DORMANT, EVERYTHING
from redteam.nights import ROOT, Checkout, Tree, source

TRUTH = 0.5
CONFIG = """domain: telecom
agent_model: offline/faultless-clerk
max_concurrency: 4
confirm_trials: 1
"""


@dataclass(frozen=True)
class Estimate:
    """A rate as it was printed, with its interval."""

    rate: float
    low: float
    high: float

    @classmethod
    def read(cls, line: str) -> "Estimate | None":
        found = re.match(r"(\d\.\d+).*?95 % interval (\d\.\d+) to (\d\.\d+)", line)
        return cls(*map(float, found.groups())) if found else None

    @property
    def covers(self) -> bool:
        return self.low <= TRUTH <= self.high

    def __str__(self) -> str:
        return f"{self.rate:.3f}  {self.low:.2f} to {self.high:.2f}  {'' if self.covers else 'leaves out 0.50':15}"


@dataclass(frozen=True)
class Night:
    verdict: str
    refused: bool
    """By the scan of edits: the rest is then what came behind it."""
    val_score: Estimate | None
    headline: Estimate | None


def night(tree: Tree, folder: Path, seed: int, behind_the_scan: bool = False) -> Night:
    agent = _seeded(seed, *EVERYTHING)
    baseline = _seeded(seed, *EVERYTHING, DORMANT) if behind_the_scan else source(BASELINE)
    name = f"{seed} behind the scan" if behind_the_scan else str(seed)
    checkout = Checkout.make(tree, folder / name, f"{CONFIG}seed: {seed}\n", baseline)
    assert checkout.run("prepare.py").code == 0
    checkout.agent.write_text(agent)
    gate = checkout.until_decided("gating.py")
    if gate.refused and not behind_the_scan:
        return replace(night(tree, folder, seed, behind_the_scan=True), refused=True)
    headline = None
    if gate.line("verdict") == "accepted" and checkout.run("record.py").code == 0:
        headline = Estimate.read(checkout.until_decided("report.py", "--confirm").line("best"))
    verdict = gate.line("verdict") or f"exit {gate.code}"
    return Night(verdict, bool(gate.refused), Estimate.read(gate.line("val_score")), headline)


def _seeded(seed: int, *files: str) -> str:
    return source(*files).replace("ROOT_SEED = 300", f"ROOT_SEED = {seed}")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tree", type=Path, default=ROOT, help="the clone to measure; else this one")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=300)
    options = parser.parse_args()
    tree = Tree(options.tree.resolve())
    seeds = range(options.first, options.first + options.seeds)
    found: dict[str, list[Estimate | None]] = {"val_score": [], "headline": []}
    refused = 0
    print(f"{'seed':4}  {'scan':7}  {'verdict':9}  {'val_score':36}  headline")
    with tempfile.TemporaryDirectory(prefix="seeds-") as folder, ThreadPoolExecutor(2) as pool:
        nights = pool.map(lambda seed: night(tree, Path(folder), seed), seeds)
        for seed, one in zip(seeds, nights, strict=True):
            scan = "refused" if one.refused else "-"
            print(f"{seed:4}  {scan:7}  {one.verdict:9}  {one.val_score!s:36}  {one.headline}", flush=True)
            found["val_score"].append(one.val_score)
            found["headline"].append(one.headline)
            refused += one.refused
    for name, estimates in found.items():
        known = [one for one in estimates if one]
        mean = f"mean {fmean(one.rate for one in known):.3f}" if known else "none was reported"
        print(f"{name}: {sum(one.covers for one in known)} of {len(known)} intervals hold 0.50, {mean}")
    print(f"refused by the scan: {refused}")
    print(f"commit {tree.commit}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
