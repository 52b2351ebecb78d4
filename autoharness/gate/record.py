"""Records an accepted edit as a version: the commit of agent/agent.py, and the ledger row that names it."""

import hashlib

from autoharness.core.command_form import typed
from autoharness.core.errors import UserError
from autoharness.core.files import read_plain
from autoharness.core.git_repository import Repository
from autoharness.core.settings import AGENT_FILE
from autoharness.vault import code_digest
from autoharness.vault.ledger import Ledger
from autoharness.vault.ledger_rows import Gate, Record, Version
from autoharness.vault.store import Store
from autoharness.vault.workspace import export_ledger


def record(ledger: Ledger, store: Store, agent: str, iteration: int) -> Version:
    """Make a version of the agent file (SHA-256) that a gate accepted and that is in the checkout: commit and row.

    If that was done before, only the export may be missing, after a kill. Raises UserError.
    """
    accepted = code_digest.check(store, ledger.evaluator) if ledger.versions else ""
    if not ledger.is_recorded(agent):
        gate = ledger.pending(agent)
        commit = _commit(_message(gate, iteration, store), agent)
        row = Record(
            measure=gate.measure,
            agent=agent,
            measured=gate.measured,
            gate=gate.number,
            commit=commit,
            iteration=iteration,
            evaluator=accepted,
        )
        ledger.append(row)
    export_ledger(ledger)
    return ledger.versions[-1]


def _message(gate: Gate, iteration: int, store: Store) -> str:
    """It names the row that accepted the edit: `report.py --verify` compares them."""
    reasons = "\n".join(gate.reasons)
    subject = f"harness: iteration {iteration}, val_score {gate.val_score:.4f} ({gate.measured})"
    return f"{subject}\n\n{reasons}\n\nledger row {gate.number}, sha256 {gate.sha256}, vault {store.id}"


def _commit(message: str, agent: str) -> str:
    """Commit agent/agent.py alone, as it is. Returns the commit that already has it if nothing is left to commit.

    Raises UserError if it is not the file with this SHA-256, or git cannot commit it.
    """
    content = read_plain(AGENT_FILE)
    if hashlib.sha256(content).hexdigest() != agent:
        raise UserError(f"{AGENT_FILE} was changed just now, and is not what was gated: {typed('gating.py')}")
    return Repository().commit(AGENT_FILE, content, message)


def check_repository() -> None:
    """Raises UserError if an accepted edit could not be committed: better now than after a night."""
    agent_file_sha256()
    Repository().check()


def agent_file_sha256() -> str:
    """SHA-256 of the agent file as it is in the checkout. Raises UserError."""
    try:
        return hashlib.sha256(read_plain(AGENT_FILE)).hexdigest()
    except OSError as error:
        raise UserError(f"{AGENT_FILE}: {error.strerror}; run from the checkout's root") from error
