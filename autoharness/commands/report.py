"""`python report.py`: reports what happened, what was measured, and whether it holds.

(nothing)       one HTML file that opens from disk: `page`
--serve         the same, live: `server`
--diff A [B]    how the agent file changed
--compare A B   two kept versions of the agent, in the same held-out tasks
--confirm       baseline against best, on trials that no verdict used
--verify        every verdict again, from the trials in the vault
--export KIND   the trials for other programs: csv, jsonl, xlsx, a results file for tau2 or NeMo
"""

import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoharness.commands.cli import Parser, run_door
from autoharness.core.command_form import in_compose, serving
from autoharness.core.errors import UserError
from autoharness.core.files import write_text
from autoharness.core.redaction import printable
from autoharness.core.setting_sources import resolve
from autoharness.core.settings import SIMULATED
from autoharness.gate.comparison import Comparison, Score
from autoharness.gate.confirmation import confirm
from autoharness.gate.verify import verify
from autoharness.report.exports import NAMES, Wanted, export
from autoharness.report.overview import Attempt, Overview, change
from autoharness.report.page import View, page
from autoharness.report.reveal import Reveal, place_of
from autoharness.report.server import LOOPBACK, Server
from autoharness.report.visible_trials import Trials
from autoharness.vault.ledger import Ledger
from autoharness.vault.ledger_rows import Version, reveal_lines
from autoharness.vault.store import Store, default_vault
from autoharness.vault.workspace import Changes

__all__ = ["main", "run_door"]

PAGE = "report.html"
_PORT = 8642
_WANTED = ("serve", "diff", "compare", "confirm", "verify", "export")
_THE_PAGE = "the page"
_OPTIONS = {
    "output": {_THE_PAGE, "--export"},
    "port": {"--serve"},
    "bind": {"--serve"},
    "version": {"--export"},
    "reveal_held_out": {_THE_PAGE, "--serve", "--export"},
    "config": {"--confirm"},
    "set": {"--confirm"},
}
"""What each of these options goes with."""


def main(arguments: list[str]) -> int:
    options = _parsed(arguments)
    store = Store(default_vault())
    if options.export:
        return export(Wanted(options.export, options.output, options.version, options.reveal_held_out), store)
    if options.verify:
        return verify(store)
    if options.confirm:
        return _confirm(options, store)
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
        description="What happened as one page, what was measured, and whether it holds.",
        epilog="Exit codes: 0 done, 1 --verify found something, 2 undecided (infrastructure, a limit), 3 misuse.",
    )
    one = parser.add_mutually_exclusive_group()
    one.add_argument("--serve", action="store_true", help="the page, live; on this machine alone, without --bind")
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
    one.add_argument("--confirm", action="store_true", help="confirmation: baseline against best, on fresh trials")
    one.add_argument("--verify", action="store_true", help="work out every verdict again from the trials it rests on")
    one.add_argument("--export", choices=list(NAMES), help="the trials for other programs (docs/report.md)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="of the page or --export, instead of workspace/")
    parser.add_argument("--port", type=int, metavar="N", help=f"of --serve, instead of {_PORT}")
    parser.add_argument("--bind", metavar="ADDRESS", help=f"of --serve: where to listen, instead of {LOOPBACK}")
    parser.add_argument("--version", metavar="NAME", help="of --export: one kept version, named as for --compare")
    parser.add_argument(
        "--reveal-held-out",
        action="store_true",
        help="of the page, --serve and --export: held-out tasks too; this is counted, and later reports say so",
    )
    parser.add_settings("of --confirm, ")
    return parser


def _parsed(arguments: list[str]) -> Namespace:
    """An option that does not go with what was asked for is an error; it is not ignored."""
    parser = _parser()
    options = parser.parse_args(arguments)
    asked = next((f"--{name}" for name in _WANTED if getattr(options, name)), _THE_PAGE)
    for name, kinds in _OPTIONS.items():
        if getattr(options, name) not in (None, False) and asked not in kinds:
            parser.error(f"--{name.replace('_', '-')} does not go with {asked}")
    return options


def _write_page(store: Store, options: Namespace) -> None:
    output = place_of(options.output, PAGE, store, options.reveal_held_out)
    view = View.of(store, Trials(store), options.reveal_held_out)
    Reveal("report.py", store).count(view.held_out, view.overview.ledger)
    write_text(output, page(view))
    what = f"{len(view.overview.attempts)} edits, {len(view.tasks)} tasks, {len(view.shown)} conversations"
    print(f"report: {output}  ({what}, {output.stat().st_size / 1e6:.1f} MB)")


def _serve(store: Store, options: Namespace) -> None:
    port, bind = _PORT if options.port is None else options.port, options.bind or LOOPBACK
    with Server(store, port, options.reveal_held_out, bind) as server:
        print(f"serving: {server.address}", flush=True)
        if in_compose() and bind == LOOPBACK:
            print(f"[report] only inside of this container; from outside: {serving()}", file=sys.stderr)
        print("[report] Ctrl-C ends it; the loop goes on", file=sys.stderr)
        server.serve()


def _show_diff(names: list[str], store: Store) -> None:
    """Print the diff, in colours on a terminal. Control characters that a terminal would obey are left out."""
    one, other = _sides(names, Overview.of(store))
    print(f"[report] from {one.name} to {other.name}", file=sys.stderr)
    text = "".join(f"{printable(line)}\n" for line in change(store, one.agent, other.agent).splitlines())
    if not sys.stdout.isatty():
        print(text, end="")
        return
    from rich.console import Console
    from rich.syntax import Syntax

    Console().print(Syntax(text, "diff", background_color="default", word_wrap=True))


@dataclass(frozen=True)
class _Side:
    name: str
    agent: str
    """SHA-256 of its file."""


def _sides(names: list[str], overview: Overview) -> tuple[_Side, _Side]:
    """What to compare: one edit with its incumbent, one other version with the baseline."""
    if len(names) > 2:
        raise UserError("--diff takes one version or two")
    tried = {one.short: one for one in overview.attempts if one.agent}
    if len(names) == 1 and names[0] in tried:
        edit = tried[names[0]]
        return _Side(overview.names.get(edit.incumbent, "its incumbent"), edit.incumbent), _Side(
            edit.name, edit.agent
        )
    one, other = (_side(name, tried, overview) for name in ["baseline", *names][-2:])
    return one, other


def _side(name: str, tried: Mapping[str, Attempt], overview: Overview) -> _Side:
    if name in tried:
        return _Side(tried[name].name, tried[name].agent)
    try:
        version = overview.ledger.version(name)
    except UserError:
        known = ", ".join(["baseline", "best", *tried])
        raise UserError(f"no version {name!r}: there is {known}, or the beginning of a commit") from None
    return _Side(version.name, version.row.agent)


def _confirm(options: Namespace, store: Store) -> int:
    with store.lock():
        return confirm(resolve({}, options.config, options.set).experiment, store)


def _compared(one: Version, other: Version, ledger: Ledger) -> list[str]:
    lines = [
        f"measured: {one.row.measured}",
        f"A: {one.name}, commit {one.commit[:12] or 'none'}",
        f"B: {other.name}, commit {other.commit[:12] or 'none'}",
        *_held_out(Comparison.of_scores(one.row.held_out, other.row.held_out)),
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
