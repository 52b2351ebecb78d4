"""`python report.py --verify`: what does not follow from the trials is a finding, whatever was written there."""

import json
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from functools import reduce
from hashlib import sha256
from operator import getitem, setitem
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoharness.core.errors import UserError
from autoharness.core.outcomes import Outcome, Status, Trial, digest
from autoharness.core.settings import Experiment
from autoharness.engine.score_identity import FIRST_BY_THE_CLOCK
from autoharness.gate.gate_run import FIRST_TRIAL, Fault, policy_of
from autoharness.gate.verify import verify
from autoharness.vault.ledger import Ledger
from autoharness.vault.ledger_rows import Baseline, Gate, Look, Record, Side
from autoharness.vault.store import Store

TASKS = list("abcdefgh")
SETTINGS = Experiment(domain="mock", agent_model="offline/clerk", max_trials=2).to_json()

Json = dict[str, Any]


class _Vault:
    """A vault made by hand, with the rows that the gate would write."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder)
        self.ledger = Ledger(self.store, "m")

    def looks(self, side: Side, agent: str, tasks: list[str], number: int, reward: float) -> list[Look]:
        return [self._look(side, agent, task_id, number, reward) for task_id in tasks]

    def _look(self, side: Side, agent: str, task_id: str, number: int, reward: float) -> Look:
        key, status = {"agent": agent, "task": task_id, "trial": number}, (Status.FAILED, Status.PASSED)[int(reward)]
        self.store.keep(key, Outcome(Trial(task_id, number, 0, agent), status, reward))
        return Look(side, task_id, number, reward, *self.store.fingerprint(key))

    def baseline(self) -> None:
        agent = self.store.keep_agent(b"# 0")
        self.store.count_holdout({"command": "prepare.py", "domain": "mock", "revealed": False})
        looks = self.looks(Side.CANDIDATE, agent, TASKS, FIRST_TRIAL, 0.0)
        score: Json = {"held_out": dict.fromkeys(TASKS, 0.0), "val_score": 0.0, "first_trial": FIRST_TRIAL}
        self.ledger.append(Baseline("m", agent, "", SETTINGS, TASKS, score_looks=looks, **score))

    def gate(self, source: bytes, reward: float, suite_reward: float = 1.0) -> Gate:
        """Every held-out task gives `reward`, every task of the suite `suite_reward`; the incumbent passes those."""
        best, agent = self.ledger.best.row, self.store.keep_agent(source)
        suite = list(self.ledger.suite)
        gate = Gate(
            "m",
            agent,
            experiment=SETTINGS,
            tasks=TASKS,
            incumbent=best.agent,
            incumbent_first_trial=best.first_trial,
            best=best.val_score,
            best_held_out=best.held_out,
            questions=self.ledger.questions_about(best.agent, agent),
            bought=self.ledger.bought(self.ledger.best),
            order="any",
            suite=dict.fromkeys(suite, suite_reward),
            suite_looks=self.looks(Side.CANDIDATE, agent, suite, 0, suite_reward),
        )
        if not suite_reward:
            checks = self.looks(Side.INCUMBENT, best.agent, suite, FIRST_TRIAL + 1, 1.0)
            looks, passing = [*gate.suite_looks, *checks], dict.fromkeys(suite, 1.0)
            gate = replace(gate, suite_looks=looks, suite_checks=passing, asked=False, verdict="rejected")
        else:
            gate = self._asked(gate, reward)
        return self.ledger.append(gate)

    def _asked(self, gate: Gate, reward: float) -> Gate:
        policy = policy_of(gate)
        sides = {Side.CANDIDATE: (gate.agent, reward), Side.INCUMBENT: (gate.incumbent, gate.best or 0.0)}
        looks = []
        for one in policy.requests:
            agent, its_reward = sides[one.side]
            looks.append(self._look(one.side, agent, one.task_id, one.number, its_reward))
        gate = replace(gate, looks=looks)
        decision = policy.decide(gate.seen)
        assert decision
        gate = replace(gate, answered=decision.verdict, verdict=decision.verdict)
        if decision.verdict == "rejected":
            return gate
        first = policy.next_number
        scored = self.looks(Side.CANDIDATE, gate.agent, TASKS, first, reward)
        promoted: Json = {"promoted": ["1", "2"], "promotion_trials": 3}
        held_out = dict.fromkeys(TASKS, reward)
        return replace(gate, first_trial=first, held_out=held_out, val_score=reward, score_looks=scored, **promoted)

    def lines(self) -> list[str]:
        return self.store.read_lines("ledger.jsonl")

    def write(self, lines: list[str]) -> None:
        (self.store.folder / "ledger.jsonl").write_text("".join(f"{line}\n" for line in lines))

    def forge(self, number: int, change: Callable[[Json], object]) -> None:
        """One row is changed, and the chain of the hashes made anew."""
        rows = [json.loads(line) for line in self.lines()]
        change(rows[number])
        for before, row in zip([None, *rows], rows, strict=False):
            row["previous"] = before["sha256"] if before else row["previous"]
            row["sha256"] = digest({name: value for name, value in row.items() if name != "sha256"})
        self.write([json.dumps(row) for row in rows])


@pytest.fixture(scope="module")
def _vault_once(tmp_path_factory: pytest.TempPathFactory) -> _Vault:
    """Baseline 0; gate 1, accepted; record 2; gate 3, vetoed by the suite; gate 4, rejected by the holdout."""
    vault = _Vault(tmp_path_factory.mktemp("vault"))
    vault.baseline()
    accepted = vault.gate(b"# 1", 1.0)
    vault.ledger.append(Record("m", accepted.agent, gate=accepted.number, commit="c" * 40))
    vault.gate(b"# 2", 1.0, suite_reward=0.0)
    vault.gate(b"# 3", 0.0)
    assert [gate.verdict for gate in vault.ledger.gates] == ["accepted", "rejected", "rejected"]
    return vault


@pytest.fixture
def vault(_vault_once: _Vault) -> Iterator[_Vault]:
    lines = _vault_once.lines()
    yield _vault_once
    _vault_once.write(lines)


def test_rows_as_the_gate_writes_them_give_no_finding(vault: _Vault, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(vault.store) == 0
    assert capsys.readouterr().out.startswith("verified: 5 rows, ")


def _without_checks(row: Json) -> None:
    row["suite_checks"] = {}
    row["suite_looks"] = [look for look in row["suite_looks"] if look["side"] == "candidate"]


def _scored_by_lucky_trials(row: Json) -> None:
    """The score from the very trials that promoted it."""
    own = [look for look in row["looks"] if look["side"] == "candidate"]
    row["score_looks"] = [look for look in own if look["number"] == own[0]["number"]]


def _without_a_task(row: Json) -> None:
    del row["suite"]["1"]
    row["suite_looks"] = [look for look in row["suite_looks"] if look["task_id"] != "1"]


@pytest.mark.parametrize(
    ("number", "change", "finding"),
    [
        pytest.param(
            4,
            lambda row: row["suite"].update({"1": 0.0}),
            "the candidate's rewards in the suite do not follow from its trials",
            id="the candidate's reward",
        ),
        pytest.param(
            3,
            lambda row: row["suite_checks"].update({"1": 0.0}),
            "the incumbent's rewards in the suite do not follow from its trials",
            id="the incumbent's reward",
        ),
        pytest.param(4, _without_a_task, "the tasks of its suite are not those of the ledger", id="a task left out"),
        pytest.param(3, _without_checks, "that the incumbent was asked about", id="checks left out"),
        pytest.param(4, lambda row: row["suite"].update(nine=1.0), "are not those of the ledger", id="a task more"),
        pytest.param(4, lambda row: row["looks"][0].update(void=True), "in a trial that is void", id="void"),
        pytest.param(4, lambda row: row.update(incumbent="x"), "not compared with the best version", id="nobody"),
        pytest.param(4, lambda row: row["best_held_out"].update(a=0.0), "the best version of its time", id="best"),
        pytest.param(1, _scored_by_lucky_trials, "without a part in the verdict", id="lucky trials"),
        pytest.param(1, lambda row: row.update(first_trial=0), "without a part in the verdict", id="first trial"),
        pytest.param(4, lambda row: row.update(looks=[]), "its trials say open", id="no trials"),
        pytest.param(4, lambda row: row.update(suite=[1]), "not as the gate writes it", id="a list for a dict"),
        pytest.param(4, lambda row: row["experiment"].update(max_trials=10**9), "must be at most 50", id="endless"),
        pytest.param(4, lambda row: row["looks"][0].update(task_id="\ud800\n"), "is not what the row", id="no text"),
    ],
)
def test_a_row_that_does_not_follow_from_its_trials_is_found(
    vault: _Vault,
    capsys: pytest.CaptureFixture[str],
    number: int,
    change: Callable[[Json], object],
    finding: str,
) -> None:
    vault.forge(number, change)
    assert verify(vault.store) == 1
    assert any(f"row {number} (gate): " in line and finding in line for line in capsys.readouterr().out.splitlines())


def test_a_record_in_the_baselines_place_is_found(vault: _Vault, capsys: pytest.CaptureFixture[str]) -> None:
    accepted = vault.ledger.gates[0]

    def record(row: Json) -> None:
        for name in row.keys() - {field.name for field in fields(Record)} - {"previous"}:
            del row[name]
        row |= {"kind": "Record", "agent": accepted.agent, "gate": accepted.number}

    vault.forge(0, record)
    assert verify(vault.store) == 1
    said = capsys.readouterr().out
    assert f"row 0 (record): no gate accepted {accepted.agent[:12]} before" in said
    assert "row 1 (gate): there was no version to compare with" in said


@pytest.mark.parametrize(
    "content",
    [b"", b"[" * 100_000, b"null", b"{}", b'{"outcome": 1}', b'{"outcome": {"trial": [], "reward": 1}, "key": 1}'],
    ids=["empty", "nested without end", "null", "no outcome", "number", "no task"],
)
def test_a_file_that_is_no_trial_is_found(vault: _Vault, capsys: pytest.CaptureFixture[str], content: bytes) -> None:
    """Its hash was forged with it."""
    name = "f" * 64
    vault.store.trial_file(name).write_bytes(content)
    forged = {"key": name, "sha256": sha256(content).hexdigest()}
    vault.forge(4, lambda row: row["looks"][0].update(forged))
    assert verify(vault.store) == 1
    assert f"row 4 (gate): trial {name[:12]} is not written as a trial is" in capsys.readouterr().out


_DECISIVE = {
    *("agent", "looks", "score_looks", "suite_looks", "held_out", "val_score", "suite", "suite_checks", "verdict"),
    *("incumbent", "incumbent_first_trial", "best", "best_held_out", "questions", "bought"),
}
_NUMBERS = [None, True, -1, 0.5, 10**400, float("nan"), float("inf")]
_ODD: list[Any] = [*_NUMBERS, "", "x", "\ud800", "a\0b", "../x", [], [[]], {}, {"x": 1}]


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value, as the keys that lead there."""
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield (*place, key)
        yield from _places(value[key], (*place, key))


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_written_anywhere_in_a_row_is_a_finding_and_no_traceback(
    vault: _Vault, data: st.DataObject
) -> None:
    whole = vault.lines()
    number = data.draw(st.integers(0, len(whole) - 1))
    row = json.loads(whole[number])
    name = data.draw(st.sampled_from(sorted(row.keys() - {"sha256", "previous", "number"})))
    *way, last = data.draw(st.sampled_from([(name,), *_places(row[name], (name,))]))
    was, odd = reduce(getitem, [*way, last], row), data.draw(st.sampled_from(_ODD))
    same = was == odd or not (was or odd)  # one empty value is as good as another
    vault.forge(number, lambda row: setitem(reduce(getitem, way, row), last, odd))
    try:
        code = verify(vault.store)
    except UserError as error:
        assert f"line {number + 1}: not as the gate wrote it" in str(error)
    else:
        assert code == 1 or same or name not in _DECISIVE or last == "void"
    finally:
        vault.write(whole)


def test_a_fresh_trial_that_is_lost_is_not_the_candidates_fault() -> None:
    """The incumbent's lost trial goes through once more, and the fresh one of the candidate beside it is lost."""
    fresh, again = (
        Look(Side.CANDIDATE, "a", FIRST_BY_THE_CLOCK + 5, None),
        Look(Side.INCUMBENT, "a", FIRST_TRIAL, 1.0),
    )
    assert not Fault([fresh, again]).is_the_candidates and not Fault([fresh, again]).is_the_incumbents
    lost, other = replace(fresh, number=FIRST_TRIAL), replace(again, number=FIRST_BY_THE_CLOCK + 5)
    assert Fault([other, lost]).is_the_candidates
