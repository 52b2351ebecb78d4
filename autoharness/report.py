"""`python report.py`: what happened, what was measured, and whether it holds.

(nothing)       one HTML file that opens from disk: `page`
--serve         the same, live: `server`
--diff A [B]    how the agent file changed
--compare A B   two kept versions of the agent, in the same held-out tasks
--confirm       baseline against best, on trials that no verdict has looked at
--verify        every verdict again, from the trials in the vault
"""

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from autoharness.audit import verify
from autoharness.cli import Parser, run_door
from autoharness.comparison import Comparison, Score
from autoharness.config import SIMULATED, resolve
from autoharness.confirm import confirm
from autoharness.errors import UserError
from autoharness.ledger import Ledger, Version, reveal_lines
from autoharness.overview import Overview, change
from autoharness.page import View, page
from autoharness.server import Server
from autoharness.store import Store, default_vault, write_text
from autoharness.trials import Trials
from autoharness.workspace import WORKSPACE, Changes

__all__ = ["main", "run_door"]

PAGE = WORKSPACE / "report.html"
_PORT = 8642


def main(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    store = Store(default_vault())
    if options.verify:
        return verify(store)
    if options.confirm:
        return _confirm(options.config, store)
    if options.diff:
        _show_diff(options.diff, store)
    elif options.compare:
        ledger = Ledger(store)
        one, other = (ledger.version(name) for name in options.compare)
        print("\n".join(_compared(one, other, ledger)))
    elif options.serve:
        _serve(store, options)
    else:
        _write_page(store, options)
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="report.py",
        description="Show what was measured, and whether it holds.",
        epilog="Exit codes: 0 done, 1 --verify found something, 2 undecided (infrastructure), 3 misuse.",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help=f"of the page, instead of {PAGE}")
    parser.add_argument("--port", type=int, default=_PORT, help="of --serve; %(default)s where it is not given")
    parser.add_argument(
        "--reveal-held-out",
        action="store_true",
        help="show held-out conversations too; this is recorded, and stands in every later headline",
    )
    one = parser.add_mutually_exclusive_group()
    one.add_argument("--serve", action="store_true", help="the page, live, on this machine alone")
    one.add_argument(
        "--diff",
        nargs="+",
        metavar="VERSION",
        help="the agent's change: from the baseline to a version, from one to another, or that of an iteration",
    )
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


def _write_page(store: Store, options: Namespace) -> None:
    output = options.output or (store.folder / PAGE.name if options.reveal_held_out else PAGE)
    _reveal(store, options, output)
    view = View.of(store, Trials(store), options.reveal_held_out)
    write_text(output, page(view))
    what = f"{len(view.overview.attempts)} edits, {len(view.tasks)} tasks, {len(view.shown)} conversations"
    print(f"report: {output}  ({what}, {output.stat().st_size / 1e6:.1f} MB)")


def _serve(store: Store, options: Namespace) -> None:
    _reveal(store, options)
    with Server(store, options.port, options.reveal_held_out) as server:
        print(f"serving: {server.address}", flush=True)
        print("[report] Ctrl-C ends it; the loop goes on", file=sys.stderr)
        server.serve()


def _reveal(store: Store, options: Namespace, output: Path | None = None) -> None:
    """Count it before anything can be seen. Raises UserError for a place where a coding agent reads."""
    if not options.reveal_held_out:
        return
    if output and output.absolute().resolve().is_relative_to(Path.cwd().resolve()):
        raise UserError(f"--output {output}: held-out conversations must not lie in the checkout; name another place")
    overview = Overview.of(store)
    held_out = {task_id for row in overview.ledger.rows for task_id in row.tasks}
    entry = {"command": "report.py", "domain": overview.settings["domain"], "split": overview.settings["gate_split"]}
    store.count_holdout({**entry, "tasks": len(held_out), "of": len(held_out), "revealed": True})


def _show_diff(names: list[str], store: Store) -> None:
    """In colours on a terminal."""
    text = change(store, *_sides(names, Overview.of(store)))
    if not sys.stdout.isatty():
        print(text, end="")
        return
    from rich.console import Console
    from rich.syntax import Syntax

    Console().print(Syntax(text, "diff", background_color="default", word_wrap=True))


def _sides(names: list[str], overview: Overview) -> tuple[str, str]:
    """The agent files (SHA-256) to compare: an iteration alone is its own edit, another version all since the
    baseline."""
    if len(names) > 2:
        raise UserError("--diff takes one version or two: baseline, best, an iteration, or a commit")
    tried = {one.short: one for one in overview.attempts if one.agent}
    if len(names) == 1 and names[0] in tried:
        return tried[names[0]].incumbent, tried[names[0]].agent
    one, other = ["baseline", *names][-2:]
    found = [tried[name].agent if name in tried else overview.ledger.version(name).row.agent for name in (one, other)]
    return found[0], found[1]


def _confirm(config: Path | None, store: Store) -> int:
    with store.lock():
        return confirm(resolve({}, config).experiment, store)


def _compared(one: Version, other: Version, ledger: Ledger) -> list[str]:
    lines = [
        f"measured: {one.row.measured}",
        f"A: {one.name}, commit {one.commit[:12] or 'none'}",
        f"B: {other.name}, commit {other.commit[:12] or 'none'}",
        *_held_out(Comparison.of(one.row.held_out, other.row.held_out)),
        *_train(one, other),
        *ledger.evaluator_lines,
    ]
    lines += reveal_lines(one.row, other.row)
    return [*lines, SIMULATED] if one.row.simulated else lines


def _held_out(found: Comparison | None) -> list[str]:
    """Counts alone: which held-out tasks they are stays hidden."""
    if found is None:
        return ["held_out: no task was evaluated for both"]
    return [
        f"held_out: A {_score(found.before)}, B {_score(found.after)} over {found.tasks} tasks",
        f"  difference {found.points}",
        f"  B better in {found.better}, worse in {found.worse}, equal in {found.tasks - found.better - found.worse} "
        f"({found.passed_by_both} passed by both); exact sign test, two-sided: p = {found.p_value:.2g}",
    ]


def _train(one: Version, other: Version) -> list[str]:
    """No means: a version is run on the train tasks that failed before it, and those are no fair sample."""
    both = Comparison.of(one.row.train, other.row.train)
    changes = Changes.between("A", one.row.train, other.row.train)
    return [f"train: {both.tasks if both else 0} tasks were run with both", *changes.lines]


def _score(rewards: Sequence[float]) -> str:
    score = Score.of(rewards)
    return f"{score.mean:.4f} ({score.low:.2f} to {score.high:.2f})"
