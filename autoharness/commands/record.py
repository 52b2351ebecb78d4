"""`python record.py`: commit what the gate accepted, and add its row to workspace/results.tsv.

The score comes from the gate's verdict; nothing is typed in. Only agent/agent.py is committed, whatever else is
staged. If it is killed between the commit and the row, the same command adds the row.
"""

import sys
from typing import Any

from autoharness.commands.cli import Parser, run_door
from autoharness.core.errors import UserError
from autoharness.core.outcomes import passed
from autoharness.core.settings import SIMULATED
from autoharness.gate.record import agent_file_sha256, record
from autoharness.vault import code_digest
from autoharness.vault.iterations import next_iteration
from autoharness.vault.ledger import Ledger
from autoharness.vault.ledger_rows import Measured, reveal_lines
from autoharness.vault.store import Store, default_vault
from autoharness.vault.workspace import WORKSPACE, set_aside_edited

__all__ = ["main", "run_door"]

_ROUNDING = 5e-5


def main(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    store = Store(default_vault())
    with store.lock():
        ledger, agent = Ledger(store), agent_file_sha256()
        if ledger.versions:
            code_digest.check(store, ledger.evaluator)
        for line in set_aside_edited(ledger):
            print(f"[record] {line}", file=sys.stderr)
        recorded = ledger.is_recorded(agent)
        _check_typed(options, ledger.versions[-1].row if recorded else ledger.pending(agent))
        version = record(ledger, store, agent, next_iteration(store, ledger))
    print(f"iteration: {version.iteration}")
    print(f"val_score: {version.row.val_score:.4f}")
    print(f"commit: {version.commit[:12]}")
    print(f"results: {WORKSPACE / 'results.tsv'}")
    for line in reveal_lines(version.row):
        print(line)
    if version.row.simulated:
        print(SIMULATED)
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="record.py",
        description="Commit what the gate accepted and add its row to workspace/results.tsv.",
        epilog="The figures come from the gate; those given here are compared with them.",
    )
    parser.add_argument("--val-score", type=float, metavar="SCORE")
    parser.add_argument("--evals-passed", type=int, metavar="N", help="passed tasks of the regression suite")
    parser.add_argument("--evals-total", type=int, metavar="N", help="all tasks of the regression suite")
    return parser


def _check_typed(options: Any, gate: Measured) -> None:
    """Raises UserError if a figure was typed that is not the gate's."""
    suite = gate.suite.values()
    known = {"val_score": gate.val_score, "evals_passed": sum(map(passed, suite)), "evals_total": len(suite)}
    for name, value in known.items():
        typed = getattr(options, name)
        if typed is not None and (value is None or not abs(typed - value) <= _ROUNDING):
            raise UserError(f"--{name.replace('_', '-')} {typed}: the gate says {value}; leave it out")
