"""`python report.py --verify`: checks that every verdict follows from the trials in the vault.

A forged row may hold any value in any place: anything that is wrong with it is a finding.
"""

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from autoharness.core.errors import UserError
from autoharness.core.outcomes import ADDRESSED, digest, mean, passed
from autoharness.core.setting_sources import from_settings
from autoharness.core.settings import RATCHET
from autoharness.gate.gate_run import Fault, Tries, policy_of
from autoharness.gate.ledger_evidence import Remark, compare
from autoharness.gate.regression_suite import SuiteVerdict, floor, veto, veto_after_checks
from autoharness.vault import code_digest
from autoharness.vault.ledger import Ledger
from autoharness.vault.ledger_chain import read
from autoharness.vault.ledger_rows import (
    Confirmation,
    Evaluator,
    Gate,
    Look,
    Measured,
    Record,
    Row,
    Side,
    SuiteRecord,
    Verdict,
    scored_looks,
    settled_looks,
)
from autoharness.vault.store import Store


def verify(store: Store) -> int:
    """Exit code 0 if everything fits, otherwise 1. What could not be compared is printed on standard error."""
    try:
        ledger = Ledger(store)
        rows, findings = ledger.all_rows, []
    except UserError as error:  # it is damaged: its rows up to there are compared with the other evidence
        rows, findings = list(_rows_before_damage(store)), [str(error)]
    else:
        for row in rows:
            findings += [f"row {row.number} ({_kind(row)}): {one}" for one in _findings_in(row, ledger, store)]
    said = list(_compared(store, rows))
    findings += [one for one in said if isinstance(one, str)]
    looks = sum(len(_looks(row)) for row in rows)
    print(f"verified: {len(rows)} rows, {looks} trials, {len(findings)} findings")
    for finding in findings:
        print(f"  {_line(finding)}")
    for remark in [one for one in said if isinstance(one, Remark)]:
        print(f"[report] {_line(remark.text)}", file=sys.stderr)
    return 1 if findings else 0


def _kind(row: Row) -> str:
    return type(row).__name__.lower()


def _line(text: str) -> str:
    return " ".join(text.split()).encode("ascii", "backslashreplace").decode()


def _rows_before_damage(store: Store) -> Iterator[Row]:
    with suppress(UserError):
        yield from read(store)


def _compared(store: Store, rows: Sequence[Row]) -> Iterator[str | Remark]:
    try:
        yield from compare(store, rows)
    except Exception as error:
        yield f"git and the log cannot be compared, some value is not as the gate writes it: {error!r:.200}"


def _findings_in(row: Row, ledger: Ledger, store: Store) -> list[str]:
    """What does not fit in one row."""
    findings = []
    try:
        for finding in _findings(row, ledger, store):
            findings.append(finding)
    except Exception as error:  # values of other types than ours can raise anything
        findings.append(f"it cannot be worked out, some value is not as the gate writes it: {error!r:.200}")
    return findings


def _findings(row: Row, ledger: Ledger, store: Store) -> Iterator[str]:
    yield from _agents(row, store)
    if row.evaluator:
        yield from _evaluator(row, ledger.before(row).evaluator, store)
    for look in _looks(row):
        yield from _trial(look, row, store)
    if isinstance(row, Measured):
        yield from _score(row)
        yield from _suite(row)
    if isinstance(row, Gate):
        before = ledger.before(row)
        if not before.versions:
            yield "there was no version to compare with"
            return
        yield from _question(row, before)
        yield from _suite_tasks(row, before.suite)
        yield from _verdict(row, before)
    if isinstance(row, Record):
        yield from _record(row, ledger.before(row))


def _looks(row: Row) -> list[Look]:
    faults = row.fault_looks if isinstance(row, Gate) else []
    return [*row.looks, *faults, *(row.score_looks + row.suite_looks if isinstance(row, Measured) else [])]


def _agents(row: Row, store: Store) -> Iterator[str]:
    for agent in {row.agent, row.incumbent if isinstance(row, Gate) else row.agent}:
        try:
            store.agent_source(agent)
        except UserError as error:
            yield str(error)


def _evaluator(row: Row, accepted: str, store: Store) -> Iterator[str]:
    """The code digest is the one that was accepted last, or the row says what changed."""
    try:
        changed = code_digest.changes(store, accepted, row.evaluator)
    except UserError as error:
        yield str(error)
        return
    said = row.changed if isinstance(row, Evaluator) else []
    if accepted and changed != said:
        yield "its evaluator is not the one that was accepted before it, or what it says of the change is not so"


def _trial(look: Look, row: Row, store: Store) -> Iterator[str]:
    """The file is the one that the verdict used, and says what the row says."""
    if look.void and look.reward is not None:
        yield f"a reward of task {look.task_id} in a trial that is void"
    if not look.key:
        if look.reward is not None:
            yield f"a reward of task {look.task_id} without a trial"
        return
    name = f"trial {look.key[:12]}"
    try:
        content = store.trial_file(look.key).read_bytes()
    except OSError as error:
        yield f"{name}: {error.strerror}"
        return
    if hashlib.sha256(content).hexdigest() != look.sha256:
        yield f"{name} is not the file that was looked at"
        return
    try:
        document = json.loads(content)
        outcome = document["outcome"]
        trial, addressed = outcome["trial"], any(str(one).startswith(ADDRESSED) for one in outcome.get("notes", []))
        of_trial = (trial["task_id"], trial["number"], outcome["reward"], trial["agent"])
        says = (digest(document["key"]), *of_trial, outcome.get("tries", 1), addressed)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        yield f"{name} is not written as a trial is: {error!r:.200}"
        return
    said = (look.key, look.task_id, look.number, look.reward, _agent_of(look, row), look.tries, look.addressed)
    if says != said:
        yield f"{name} is not what the row says: task, number, agent, reward, tries or warnings differ"


def _agent_of(look: Look, row: Row) -> str:
    if look.side == Side.CANDIDATE:
        return row.agent
    return row.incumbent if isinstance(row, Gate) else row.baseline if isinstance(row, Confirmation) else ""


def _score(row: Measured) -> Iterator[str]:
    """`held_out` and `val_score` follow from the trials."""
    rewards = scored_looks(row.score_looks, row.best_held_out if isinstance(row, Gate) else {}, row.rules)
    if rewards != row.held_out:
        yield "the held-out rewards do not follow from its trials"
    if row.val_score != mean(rewards.values()):
        yield f"val_score {row.val_score} does not follow from its trials: {mean(rewards.values())}"


def _suite(row: Measured) -> Iterator[str]:
    """`suite` and `suite_checks` follow from the trials."""
    checks = row.suite_checks if isinstance(row, Gate) else {}
    for side, rewards in ((Side.CANDIDATE, row.suite), (Side.INCUMBENT, checks)):
        looks = [look for look in row.suite_looks if look.side == side]
        if settled_looks(looks, void=0.0 if row.rules else None) != rewards:
            yield f"the {side}'s rewards in the suite do not follow from its trials"


def _suite_tasks(gate: Gate, records: Mapping[str, SuiteRecord]) -> Iterator[str]:
    """Each task of the suite was run; before a veto, the incumbent was run on those that the candidate failed."""
    if gate.suite.keys() != (set() if gate.leaks else records.keys()):
        yield "the tasks of its suite are not those of the ledger"
        return
    vetoed = gate.experiment["gate"] != RATCHET and veto(gate.suite, records).holds is False
    failed = {task_id for task_id, reward in gate.suite.items() if reward is not None and not passed(reward)}
    if gate.suite_checks.keys() != (failed if vetoed else set()):
        yield "the suite's tasks that the incumbent was asked about are not those that could have vetoed"


def _question(gate: Gate, before: Ledger) -> Iterator[str]:
    """The gate ran against the best version of its time, and counts the gate runs before it."""
    best = before.best.row
    compared = (gate.incumbent, gate.incumbent_first_trial, gate.best, gate.best_held_out)
    if compared != (best.agent, best.first_trial, best.val_score, best.held_out):
        yield "it was not compared with the best version of its time"
    same = before.same_question(gate)
    asked = (same.questions, same.bought) if same else _asked(before, gate)
    if (gate.questions, gate.bought) != asked:
        yield "the questions and trials before it are not those of the ledger"


def _asked(before: Ledger, gate: Gate) -> tuple[int, dict[str, int]]:
    return before.questions_about(gate.incumbent, gate.agent), before.bought(before.best)


def _verdict(gate: Gate, ledger: Ledger) -> Iterator[str]:
    from_settings(gate.experiment)  # raises for what is out of range: a policy asks for as many trials as it is told
    if gate.incumbent_fault and not Fault(gate.fault_looks).is_the_incumbents:
        yield "the trials of its fault do not say that it is the kept version's"
    if gate.asked:
        decision = policy_of(gate).decide(gate.seen)
        found = decision.verdict if decision else "open"
        if found != gate.answered:
            yield f"the holdout's answer was {gate.answered}, its trials say {found}"
    expected = _expected(gate, ledger)
    if gate.verdict != expected and not (expected == Verdict.ACCEPTED and gate.verdict == Verdict.UNDECIDED):
        yield f"the verdict was {gate.verdict}, it follows {expected}"
    if gate.verdict == Verdict.ACCEPTED:
        yield from _score_trials(gate)


def _score_trials(gate: Gate) -> Iterator[str]:
    """The trials of its score are the first ones without a part in the verdict, over the whole split."""
    first = policy_of(gate).next_number
    numbers = range(first, first + gate.experiment["trials"])
    scored = {(look.task_id, look.number) for look in gate.score_looks}
    if gate.first_trial != first or scored != {(task_id, number) for task_id in gate.tasks for number in numbers}:
        yield "its score is not that of the first trials without a part in the verdict"


def _expected(gate: Gate, ledger: Ledger) -> str:
    """The verdict that follows. An accepted edit may also be undecided, if its score could not be completed."""
    if gate.leaks:
        return Verdict.REJECTED
    suite = _suite_verdict(gate, ledger)
    if suite.holds is False or Fault(gate.fault_looks).is_the_candidates:
        return Verdict.REJECTED
    if suite.holds is None:
        return Verdict.UNDECIDED
    if gate.rules and gate.answered == Verdict.ACCEPTED and Tries.of(gate.looks).are_the_candidates:
        return Verdict.REJECTED
    return gate.answered


def _suite_verdict(gate: Gate, ledger: Ledger) -> SuiteVerdict:
    if gate.experiment["gate"] == RATCHET:
        return floor(gate.suite, gate.experiment["threshold"])
    return veto_after_checks(gate.suite, gate.suite_checks, ledger.suite)


def _record(row: Record, before: Ledger) -> Iterator[str]:
    gates = {gate.number: gate for gate in before.all_rows if isinstance(gate, Gate)}
    gate = gates.get(row.gate)
    if gate is None or (gate.agent, gate.verdict) != (row.agent, Verdict.ACCEPTED):
        yield f"no gate accepted {row.agent[:12]} before"
