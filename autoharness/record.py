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
from autoharness.iterations import next_iteration
from autoharness.ledger import Gate, Ledger, Measured, Record, Version, reveal_lines
from autoharness.results import passed
from autoharness.store import Store, default_vault, read_agent
from autoharness.workspace import WORKSPACE, export_ledger, set_aside_edited
from autoharness.worktree import branch_of, open_repository

__all__ = ["main", "run_door"]

_ROUNDING = 5e-5
_NOBODY = {"user.name": "auto-harness", "user.email": "auto-harness@localhost"}


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
        commit = _commit(_message(gate, iteration), agent)
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
        return hashlib.sha256(read_agent(AGENT_FILE)).hexdigest()
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


def _message(gate: Gate, iteration: int) -> str:
    reasons = "\n".join(gate.reasons)
    subject = f"harness: iteration {iteration}, val_score {gate.val_score:.4f} ({gate.measured})"
    return f"{subject}\n\n{reasons}\n\nledger row {gate.number}, sha256 {gate.sha256}"


def _commit(message: str, agent: str) -> str:
    """Commit agent/agent.py alone; the commit that has it already where nothing is left to commit.

    Raises UserError where what git has then is not the file with this SHA-256: a filter, a hook or a hidden change.
    """
    try:
        import git
    except ImportError as error:
        raise UserError(f"git is missing: {error}") from error
    try:
        repository = open_repository()
        _check_that_git_keeps_it(repository)
        if repository.git.status("--porcelain", "--", str(AGENT_FILE)):
            _commit_agent(repository, message)
        commit = repository.head.commit
        if hashlib.sha256((commit.tree / str(AGENT_FILE)).data_stream.read()).hexdigest() != agent:
            raise UserError(f"commit {commit.hexsha[:12]} has another {AGENT_FILE} than the one that was gated")
        return str(commit.hexsha)
    except (git.GitCommandError, ValueError, KeyError) as error:
        reason = " ".join(str(getattr(error, "stderr", "") or error).split())[:300]
        raise UserError(f"git could not commit {AGENT_FILE}: {reason}") from error


def check_repository() -> None:
    """Raises UserError where an accepted edit could not be committed: better now than after a night."""
    repository = open_repository()
    branch_of(repository)
    _check_that_git_keeps_it(repository)


def _check_that_git_keeps_it(repository: Any) -> None:
    """Raises UserError where git would store something else than the file's bytes."""
    if AGENT_FILE.is_symlink():
        raise UserError(f"{AGENT_FILE} is a symbolic link: put the file itself there")
    path = str(AGENT_FILE)
    if repository.git.hash_object("--path", path, path) != repository.git.hash_object("--no-filters", path):
        raise UserError(f"git would change {path} as it commits it: see core.autocrlf and .gitattributes")


def _commit_agent(repository: Any, message: str) -> None:
    repository.git.add("--", str(AGENT_FILE))
    with repository.config_reader() as configured:
        known = configured.has_option("user", "name") and configured.has_option("user", "email")
    identity = [] if known else [part for item in _NOBODY.items() for part in ("-c", "=".join(item))]
    only = ["commit", "--no-verify", "--only", "-m", message, "--", str(AGENT_FILE)]
    repository.git.execute(["git", *identity, *only])
