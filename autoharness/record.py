"""`python record.py`: commit what the gate accepted, and add its row to workspace/results.tsv.

The score comes from the gate's verdict; nothing is typed in. Only agent/agent.py is committed, whatever else is
staged. Killed between the commit and the row, the same command adds the row.
"""

import hashlib
import sys
from dataclasses import replace
from typing import Any

from autoharness import evaluator
from autoharness.cli import Parser, run_door
from autoharness.config import AGENT_FILE, SIMULATED
from autoharness.errors import UserError
from autoharness.files import read_plain
from autoharness.iterations import next_iteration
from autoharness.ledger import Gate, Ledger, Measured, Record, Version, reveal_lines
from autoharness.repository import Repository
from autoharness.results import passed
from autoharness.store import Store, default_vault
from autoharness.workspace import WORKSPACE, export_ledger, set_aside_edited

__all__ = ["main", "run_door"]

_ROUNDING = 5e-5


def main(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    store = Store(default_vault())
    with store.lock():
        ledger, agent = Ledger(store), _agent()
        if ledger.versions:
            evaluator.check(store, ledger.evaluator)
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


def record(ledger: Ledger, store: Store, agent: str, iteration: int) -> Version:
    """Make a version of the agent file (SHA-256) that a gate accepted and that lies in the checkout: commit and row.

    Where that was done before, only the export may be missing: a kill came between. Raises UserError.
    """
    accepted = evaluator.check(store, ledger.evaluator) if ledger.versions else ""
    if not ledger.is_recorded(agent):
        gate = ledger.pending(agent)
        commit = _commit(_message(gate, iteration, store), agent)
        row = Record(gate.measure, agent, gate.measured, gate=gate.number, commit=commit, evaluator=accepted)
        ledger.append(replace(row, iteration=iteration))
    export_ledger(ledger)
    return ledger.versions[-1]


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


def _agent() -> str:
    """SHA-256 of the agent file."""
    try:
        return hashlib.sha256(read_plain(AGENT_FILE)).hexdigest()
    except OSError as error:
        raise UserError(f"{AGENT_FILE}: {error.strerror}; run from the checkout's root") from error


def _check_typed(options: Any, gate: Measured) -> None:
    """Raises UserError where a figure was typed that is not the gate's."""
    suite = gate.suite.values()
    known = {"val_score": gate.val_score, "evals_passed": sum(map(passed, suite)), "evals_total": len(suite)}
    for name, value in known.items():
        typed = getattr(options, name)
        if typed is not None and (value is None or not abs(typed - value) <= _ROUNDING):
            raise UserError(f"--{name.replace('_', '-')} {typed}: the gate says {value}; leave it out")


def _message(gate: Gate, iteration: int, store: Store) -> str:
    """It names the row that accepted the edit: `report.py --verify` compares them."""
    reasons = "\n".join(gate.reasons)
    subject = f"harness: iteration {iteration}, val_score {gate.val_score:.4f} ({gate.measured})"
    return f"{subject}\n\n{reasons}\n\nledger row {gate.number}, sha256 {gate.sha256}, vault {store.id}"


def _commit(message: str, agent: str) -> str:
    """Commit agent/agent.py alone, as it lies there; the commit that has it already if nothing is left to commit.

    Raises UserError if it is not the file with this SHA-256, or git cannot commit it.
    """
    content = read_plain(AGENT_FILE)
    if hashlib.sha256(content).hexdigest() != agent:
        raise UserError(f"{AGENT_FILE} was changed just now, and is not what was gated: python gating.py")
    return Repository().commit(AGENT_FILE, content, message)


def check_repository() -> None:
    """Raises UserError where an accepted edit could not be committed: better now than after a night."""
    read_plain(AGENT_FILE)
    Repository().check()
