"""`python report.py`: what was measured, and whether it holds.

--compare A B   two kept versions of the agent, in the same held-out tasks
--confirm       baseline against best, on trials that no verdict has looked at
--verify        every verdict again, from the trials in the vault
"""

from collections.abc import Iterable
from pathlib import Path
from statistics import fmean

from autoharness.audit import verify
from autoharness.cli import Parser, run_door
from autoharness.config import SIMULATED, resolve
from autoharness.confirm import confirm
from autoharness.ledger import Ledger, Version, reveal_lines
from autoharness.results import Rewards, passed
from autoharness.stats import difference_interval, mean_interval, sign_test
from autoharness.store import Store, default_vault
from autoharness.workspace import Changes

__all__ = ["main", "run_door"]


def main(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    store = Store(default_vault())
    if options.verify:
        return verify(store)
    if options.confirm:
        return _confirm(options.config, store)
    ledger = Ledger(store)
    one, other = (ledger.version(name) for name in options.compare)
    print("\n".join(_compared(one, other, ledger)))
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="report.py",
        description="Show what was measured, and whether it holds.",
        epilog="Exit codes: 0 done, 1 --verify found something, 2 undecided (infrastructure), 3 misuse.",
    )
    one = parser.add_mutually_exclusive_group(required=True)
    one.add_argument(
        "--compare",
        nargs=2,
        metavar=("A", "B"),
        help="two kept versions: an iteration, a commit, 'baseline' or 'best'",
    )
    one.add_argument("--confirm", action="store_true", help="the headline: baseline against best, on fresh trials")
    one.add_argument("--verify", action="store_true", help="work out every verdict again from the trials it rests on")
    parser.add_argument("--config", type=Path, metavar="FILE", help="of --confirm, instead of experiment_config.yaml")
    return parser


def _confirm(config: Path | None, store: Store) -> int:
    with store.lock():
        return confirm(resolve({}, config).experiment, store)


def _compared(one: Version, other: Version, ledger: Ledger) -> list[str]:
    lines = [
        f"measured: {one.row.measured}",
        f"A: {one.name}, commit {one.commit[:12] or 'none'}",
        f"B: {other.name}, commit {other.commit[:12] or 'none'}",
        *_held_out(_pairs(one.row.held_out, other.row.held_out)),
        *_train(one, other),
        *ledger.evaluator_lines,
    ]
    lines += reveal_lines(one.row, other.row)
    return [*lines, SIMULATED] if one.row.simulated else lines


def _pairs(one: Rewards, other: Rewards) -> list[tuple[float, float]]:
    """The rewards of both in the tasks that could be evaluated for both."""
    both = [(one[task_id], other.get(task_id)) for task_id in one]
    return [(a, b) for a, b in both if a is not None and b is not None]


def _held_out(pairs: list[tuple[float, float]]) -> list[str]:
    """Counts alone: which held-out tasks they are stays hidden."""
    if not pairs:
        return ["held_out: no task was evaluated for both"]
    better, worse = sum(b > a for a, b in pairs), sum(b < a for a, b in pairs)
    passed_by_both = sum(passed(a) and passed(b) for a, b in pairs)
    low, high = difference_interval([b - a for a, b in pairs])
    return [
        f"held_out: A {_score(a for a, _ in pairs)}, B {_score(b for _, b in pairs)} over {len(pairs)} tasks",
        f"  difference {100 * fmean(b - a for a, b in pairs):+.1f} points, "
        f"95 % interval {100 * low:+.1f} to {100 * high:+.1f}",
        f"  B better in {better}, worse in {worse}, equal in {len(pairs) - better - worse} "
        f"({passed_by_both} passed by both); exact sign test, two-sided: p = {sign_test(better, worse):.2g}",
    ]


def _train(one: Version, other: Version) -> list[str]:
    """No means: a version is run on the train tasks that failed before it, and those are no fair sample."""
    both = len(_pairs(one.row.train, other.row.train))
    changes = Changes.between("A", one.row.train, other.row.train)
    return [f"train: {both} tasks were run with both", *changes.lines]


def _score(values: Iterable[float]) -> str:
    values = list(values)
    low, high = mean_interval(values)
    return f"{fmean(values):.4f} ({low:.2f} to {high:.2f})"
