"""`python report.py --compare A B`: two kept versions of the agent, on the same tasks and trial seeds."""

from collections.abc import Iterable

from autoharness.cli import Parser, run_door
from autoharness.config import SIMULATED
from autoharness.ledger import Ledger, Version
from autoharness.results import Rewards, mean, passed
from autoharness.stats import sign_test
from autoharness.store import Store, default_vault
from autoharness.workspace import Changes

__all__ = ["main", "run_door"]


def main(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    ledger = Ledger(Store(default_vault()))
    one, other = (ledger.version(name) for name in options.compare)
    print("\n".join(_compared(one, other)))
    return 0


def _parser() -> Parser:
    parser = Parser(prog="report.py", description="Show what was measured.")
    parser.add_argument(
        "--compare",
        nargs=2,
        required=True,
        metavar=("A", "B"),
        help="two kept versions: an iteration, a commit, 'baseline' or 'best'",
    )
    return parser


def _compared(one: Version, other: Version) -> list[str]:
    lines = [
        f"measured: {one.row.measured}",
        f"A: {one.name}, commit {one.row.commit[:12] or 'none'}",
        f"B: {other.name}, commit {other.row.commit[:12] or 'none'}",
        *_held_out(_pairs(one.row.held_out, other.row.held_out)),
        *_train(one, other),
    ]
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
    return [
        f"held_out: A {_mean(a for a, _ in pairs):.4f}, B {_mean(b for _, b in pairs):.4f}, "
        f"difference {100 * _mean(b - a for a, b in pairs):+.1f} points over {len(pairs)} tasks",
        f"  B better in {better}, worse in {worse}, equal in {len(pairs) - better - worse} "
        f"({passed_by_both} passed by both); exact sign test, two-sided: p = {sign_test(better, worse):.2g}",
    ]


def _train(one: Version, other: Version) -> list[str]:
    """No means: a version is run on the train tasks that failed before it, and those are no fair sample."""
    both = len(_pairs(one.row.train, other.row.train))
    changes = Changes.between("A", one.row.train, other.row.train)
    return [f"train: {both} tasks were run with both", *changes.lines]


def _mean(values: Iterable[float]) -> float:
    return mean(values) or 0.0
