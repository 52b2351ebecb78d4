"""`python gating.py`: accepts, rejects, or leaves it open where infrastructure failed; it pays for nothing twice."""

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from signal import SIGINT, SIGKILL
from subprocess import PIPE
from typing import Any

import pytest
from checkout import MOCK, Checkout
from conftest import ROOT, TEMPLATE
from harnesses import BAD, GOOD_PROMPT
from llm_server import Fault, LLMServer, assistant
from solver import Solver

from autoharness.benchmarks.tau2.adapter import Tau2
from autoharness.vault.ledger import Ledger
from autoharness.vault.ledger_rows import Record, Side
from autoharness.vault.store import Store

_PROMOTED = "update_task_with_initialization_actions"


_CAREFUL = TEMPLATE.replace("helpful assistant", "helpful and careful assistant")
_Run = Callable[..., "subprocess.CompletedProcess[str]"]
"""`Checkout.run`, with the provider's variables set."""


def _rows(checkout: Checkout) -> list[Any]:
    return Ledger(Store(checkout.vault)).rows


@pytest.fixture(scope="module")
def _accepted_once(_prepared_once: Checkout, tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkout, Any]:
    checkout = _prepared_once.copy(tmp_path_factory.mktemp("accepted"))
    checkout.agent.write_text(GOOD_PROMPT)
    gate = checkout.run("gating.py")
    assert checkout.run("record.py").returncode == 0, gate.stderr
    return checkout, gate


@pytest.fixture
def accepted(_accepted_once: tuple[Checkout, Any], tmp_path: Path) -> Checkout:
    """A checkout of the test's own in which one edit was accepted and recorded."""
    return _accepted_once[0].copy(tmp_path / "own")


def _values(printed: str) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in printed.splitlines() if ": " in line)


def _answer(printed: str) -> list[str]:
    """What does not depend on how often a gate was interrupted."""
    return [line for line in printed.splitlines() if "were run for it" not in line]


def test_a_good_edit_is_accepted_and_its_score_comes_from_trials_without_a_part_in_that(
    _accepted_once: tuple[Checkout, Any],
) -> None:
    checkout, gate = _accepted_once
    printed, values = gate.stdout.splitlines(), _values(gate.stdout)
    assert gate.returncode == 0
    assert (values["suite"], values["best"][:6]) == ("empty", "0.5000")
    assert "/4 passed, 0 infra errors)" in values["val_score"]
    assert values["promoted"][:1] == "1" and f"  PROMOTED  {_PROMOTED}" in printed
    assert (values["gate_runs"][:1], values["questions"][:1], values["verdict"]) == ("1", "1", "accepted")
    row = Ledger(Store(checkout.vault)).gates[-1]
    looked_at = [look.number for look in row.looks if look.side == Side.CANDIDATE]
    assert max(looked_at) < row.first_trial and {look.number for look in row.score_looks} == {row.first_trial}


@pytest.mark.slow
def test_a_bad_edit_is_rejected_without_a_score_and_on_trials_that_did_not_promote_the_incumbent(
    accepted: Checkout,
) -> None:
    accepted.agent.write_text(BAD["hands over when in doubt"])
    gate = accepted.run("gating.py")
    values = _values(gate.stdout)
    assert (gate.returncode, values["verdict"], values["best"][-14:]) == (1, "rejected", "  (iteration 1)"[-14:])
    assert values["val_score"].startswith("N/A  (by its first trial, as far as it went, between 0.")
    assert values["questions"] == "2 asked of the holdout, 1 about this incumbent"
    promoting, last = Ledger(Store(accepted.vault)).gates
    assert min(look.number for look in last.looks) >= promoting.first_trial
    refused = accepted.run("record.py")
    assert (refused.returncode, "verdict on agent/agent.py was rejected" in refused.stderr) == (3, True)
    suite = json.loads((accepted.root / "workspace" / "suite.json").read_text())
    assert (suite["tasks"], suite["last_results"]) == ([_PROMOTED], {_PROMOTED: 0.0})
    assert [type(row).__name__ for row in _rows(accepted)] == ["Baseline", "Gate", "Record", "Gate"]


@pytest.mark.slow
def test_the_suite_vetoes_what_its_records_cannot_explain_and_the_holdout_is_not_asked(accepted: Checkout) -> None:
    """Two tasks that the incumbent passes again when it is asked once more, and that the edit fails."""
    ledger = Ledger(Store(accepted.vault))
    steady = [task_id for task_id, reward in ledger.versions[0].row.train.items() if reward == 1.0]
    agent = Store(accepted.vault).keep_agent((GOOD_PROMPT + "# the same\n").encode())
    gate = replace(ledger.gates[-1], agent=agent, promoted=steady, promotion_trials=3, suite={})
    ledger.append(Record(ledger.measure, agent, gate=ledger.append(gate).number, commit="c" * 40))
    accepted.agent.write_text(GOOD_PROMPT.replace("answer = generate(", "answer = None.generate("))
    done = accepted.run("gating.py")
    row = Ledger(Store(accepted.vault)).gates[-1]
    assert (done.returncode, row.asked, row.looks) == (1, False, [])
    assert set(row.suite_checks) == {*steady, _PROMOTED} and "suite 0/" in done.stdout
    assert "gate_runs: 2 (0 against this incumbent)" in done.stdout
    findings = accepted.run("report.py", "--verify").stdout.splitlines()[1:]
    assert findings and all(line.startswith("  row 3 (gate): ") for line in findings), "the row that this test forged"


@pytest.mark.slow
def test_an_edit_that_carries_answers_is_rejected_with_its_lines_before_anything_is_paid(accepted: Checkout) -> None:
    accepted.agent.write_text(GOOD_PROMPT + "KNOWN = {'create_task_1_with_env_assertions': 'Important Meeting'}\n")
    done = accepted.run("gating.py")
    line = GOOD_PROMPT.count("\n") + 1
    assert done.returncode == 1 and f"reason: line {line} carries the id create_task_1" in done.stdout
    assert "simulations" not in done.stderr and "1 asked of the holdout" in done.stdout


@pytest.mark.slow
def test_the_verdicts_follow_from_the_trials_and_what_was_changed_since_is_found(accepted: Checkout) -> None:
    whole = accepted.run("report.py", "--verify")
    assert (whole.returncode, whole.stdout.splitlines()[0][-10:]) == (0, "0 findings")
    row = Ledger(Store(accepted.vault)).gates[-1]
    trial = Store(accepted.vault).trial_file(row.looks[0].key)
    trial.write_text(trial.read_text().replace('"reward"', '"rewards"'))
    Store(accepted.vault).trial_file(row.score_looks[0].key).unlink()
    Store(accepted.vault).agent_file(row.agent).write_text("# another")
    done = accepted.run("report.py", "--verify")
    assert done.returncode == 1 and "row 1 (gate): trial " in done.stdout
    for finding in ("is not the file that was looked at", "No such file", "is not the file that was run"):
        assert finding in done.stdout


@pytest.mark.slow
def test_confirm_compares_baseline_and_best_on_trials_of_its_own_once(accepted: Checkout) -> None:
    with (accepted.root / "experiment_config.yaml").open("a") as config:
        config.write("confirm_trials: 2\n")
    done = accepted.run("report.py", "--confirm")
    values = _values(done.stdout)
    assert done.returncode == 0, done.stderr
    assert values["confirm"].startswith("iteration 1 against the baseline, test, 4 tasks x 2 trials")
    assert "pass^1 " in values["baseline"] and "pass^2 " in values["best"] and "95 % interval" in values["difference"]
    assert values["confirmed"].startswith(("yes", "no")) and values["split"].startswith("the gate chose on these")
    row = _rows(accepted)[-1]
    others = {look.number for gate in Ledger(Store(accepted.vault)).gates for look in gate.looks + gate.score_looks}
    assert {look.number for look in row.looks}.isdisjoint(others) and len(row.looks) == 16
    again = accepted.run("report.py", "--confirm")
    assert (again.stdout, "simulations" in again.stderr) == (done.stdout, False)


@pytest.mark.slow
def test_a_validation_split_cut_from_train_leaves_test_to_the_confirmation(tmp_path: Path) -> None:
    settings = "gate_split: train:0.4\nconfirm_split: test\nconfirm_trials: 1\n"
    checkout = Checkout.make(tmp_path, MOCK + settings)
    prepare = checkout.run("prepare.py")
    assert "(mock train:0.4, 2 tasks, offline/clerk)" in prepare.stdout, prepare.stderr
    validation, train = set(_rows(checkout)[0].tasks), set(_rows(checkout)[0].train)
    assert validation.isdisjoint(train) and (len(validation), len(train)) == (2, 3)
    assert min(look.number for look in _rows(checkout)[0].score_looks) >= 1000, "no run by hand reaches these"
    elsewhere = checkout.run("benchmark.py", "--seed", "301")  # another seed would cut another part out of train
    assert elsewhere.returncode == 0 and not any(f" {task_id}: " in elsewhere.stdout for task_id in validation)
    refused = checkout.run("benchmark.py", "--split", "test")
    assert refused.returncode == 3 and "test is the confirm_split: report.py --confirm alone" in refused.stderr
    early = checkout.run("report.py", "--confirm")
    assert early.returncode == 3 and "nothing was accepted yet" in early.stderr


@pytest.mark.slow
def test_the_plan_says_what_can_be_found_for_what_and_runs_nothing(accepted: Checkout) -> None:
    before = accepted.contents()
    with accepted.store.lock():  # as the loop holds it
        done = accepted.run("gating.py", "--plan")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("plan: one gate run against iteration 1 (mock test, 4 tasks")
    rows = [line.split() for line in done.stdout.splitlines() if " points " in line]
    assert [row[0] for row in rows] == ["0", "3", "5", "8", "10", "15"]
    assert [float(row[2]) for row in rows] == sorted(float(row[2]) for row in rows)
    assert accepted.contents() == before


def test_an_unchanged_agent_is_nothing_to_gate(prepared: Checkout) -> None:
    done = prepared.run("gating.py")
    assert (done.returncode, done.stdout) == (3, "")
    assert "agent/agent.py is that of the baseline, unchanged" in done.stderr


@pytest.mark.slow
def test_what_was_measured_under_other_settings_is_no_baseline(prepared: Checkout) -> None:
    with (prepared.root / "experiment_config.yaml").open("a") as config:
        config.write("seed: 301\n")
    prepared.agent.write_text(GOOD_PROMPT)
    done = prepared.run("gating.py")
    assert done.returncode == 3 and "no baseline for mock test, 4 tasks" in done.stderr
    done = prepared.run("prepare.py")
    assert done.returncode == 3 and "or start another one: " in done.stderr
    assert "prepare.py --new-experiment" in done.stderr
    assert "what changed: seed)" in done.stderr
    assert prepared.run("prepare.py", "--new-experiment").returncode == 0
    results = (prepared.root / "workspace" / "results.tsv").read_text().splitlines()
    assert [line.split("\t")[:2] for line in results[1:]] == [["0", "0.5000"], ["0", "0.7500"]]


@pytest.mark.slow
def test_null_runs_the_kept_version_against_itself(prepared: Checkout) -> None:
    prepared.agent.write_text("this is not even Python")
    done = prepared.run("gating.py", "--null")
    lines = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert done.returncode == 0
    assert lines["first"].startswith("0.5000  (2/4 passed, 0 infra errors), 95 % interval ")
    assert "passed, 0 infra errors)" in lines["second"]
    assert lines["flipped"].endswith("of 4 tasks") and "points" in lines["noise_floor"]


@pytest.mark.slow
def test_two_at_once_are_refused_by_a_lock_that_dies_with_its_holder(prepared: Checkout) -> None:
    with (prepared.kept / "lock").open("w") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        for door in ("gating.py", "record.py", "prepare.py"):
            done = prepared.run(door)
            assert (done.returncode, "another command is at work" in done.stderr) == (3, True)
    assert "unchanged" in prepared.run("gating.py").stderr


@pytest.fixture
def real_client(tmp_path: Path, solver_server: tuple[LLMServer, set[str]]) -> Callable[..., tuple[Checkout, _Run]]:
    """Makes a checkout that asks that server, and tries each simulation once."""
    return partial(_real_client, tmp_path, solver_server[0], "simulation_retries: 0\n")


def _real_client(tmp_path: Path, server: LLMServer, *settings: str) -> tuple[Checkout, _Run]:
    """A checkout whose model has a name as in a real run, and is this server, each request tried once."""
    once = "llm_retries: 0\nmax_concurrency: 1\n"
    checkout = Checkout.make(tmp_path, f"domain: mock\nagent_model: gpt-5.4\n{once}{''.join(settings)}")
    return checkout, partial(checkout.run, OPENAI_API_BASE=server.url, OPENAI_API_KEY="the-key")


@pytest.mark.slow
def test_with_a_real_client_an_outage_leaves_it_open_and_the_rest_is_paid_for_once(
    tau2: Tau2, solver_server: tuple[LLMServer, set[str]], real_client: Callable[..., tuple[Checkout, _Run]]
) -> None:
    """Down at prepare, then for a single held-out task."""
    server, down = solver_server
    checkout, run = real_client("gate: ratchet\nmax_outage_s: 0\n")
    down.add("messages")
    prepare = run("prepare.py")
    assert prepare.returncode == 2 and "has answered nothing for 0 s" in prepare.stderr and not _rows(checkout)
    down.clear()
    assert run("prepare.py").stdout.startswith("baseline: 1.0000  (4/4 passed")
    checkout.agent.write_text(_CAREFUL)
    down.add(f"<<{tau2.facts('mock').splits['test'][0]}>>")
    before = len(server.requests)
    gate = run("gating.py")
    assert gate.returncode == 2 and "verdict: undecided" in gate.stdout
    assert "val_score: 1.0000  (3/3 passed, 1 infra errors)" in gate.stdout
    assert "update_task" not in gate.stdout + gate.stderr
    first = len(server.requests) - before
    down.clear()
    gate = run("gating.py")
    assert gate.returncode == 0 and "verdict: accepted" in gate.stdout and "simulated" not in gate.stdout
    assert 0 < len(server.requests) - before - first < first


@pytest.mark.slow
def test_the_sequential_gate_asks_again_only_for_what_an_outage_took(
    solver_server: tuple[LLMServer, set[str]], real_client: Callable[..., tuple[Checkout, _Run]]
) -> None:
    server, down = solver_server
    checkout, run = real_client("max_trials: 3\n")
    assert run("prepare.py").returncode == 0
    checkout.agent.write_text(_CAREFUL)
    down.add("<scenario>")  # the user simulator's calls fail, and a greeting is answered
    gate = run("gating.py")
    assert gate.returncode == 2 and "verdict: undecided" in gate.stdout
    assert "4 trials could not be evaluated; the same command runs those again" in gate.stdout
    down.clear()
    gate = run("gating.py")
    assert gate.returncode == 1 and re.search(r"(?m)^reason: candidate ahead by (at most )?\d", gate.stdout)
    assert "simulated" not in gate.stdout
    assert "gate_runs: 1 (" in gate.stdout, "the same question, asked again"
    paid = len(server.requests)
    again = run("gating.py")
    assert _answer(again.stdout) == _answer(gate.stdout) and "0 were run for it" in again.stdout
    assert len(server.requests) == paid


_SAYS_WHAT_NO_PROVIDER_TAKES = f"""{TEMPLATE}
turn = HarnessAgent.generate_next_message


def speak(self, message, state):
    answer, state = turn(self, message, state)
    if answer.content:
        answer.content = f"unmentionable: {{answer.content}}"
    return answer, state


HarnessAgent.generate_next_message = speak
"""


def _fails(request: dict[str, Any]) -> bool:
    """Whether it has that word; or other words in its place, by which a run finds out whose fault that is."""
    text = json.dumps(request)
    return "unmentionable" in text or ('"Hello."' in text and len(request["messages"]) > 1)


def _fail_on_that_word(server: LLMServer) -> None:
    solve = server.reply
    server.reply = lambda request: Fault(503) if _fails(request) else solve(request)


@pytest.mark.slow
def test_an_edit_on_which_a_provider_fails_is_rejected_and_no_outage_is_waited_for(
    solver_server: tuple[LLMServer, set[str]], real_client: Callable[..., tuple[Checkout, _Run]]
) -> None:
    """The user's provider fails on requests with that word. On 9a969fe every gate of this edit was undecided."""
    checkout, run = real_client("max_trials: 3\n")
    assert run("prepare.py").returncode == 0
    checkout.agent.write_text(_SAYS_WHAT_NO_PROVIDER_TAKES)
    _fail_on_that_word(solver_server[0])
    gate = run("gating.py")
    assert gate.returncode == 1, gate.stdout
    assert "infrastructure fails on the candidate alone: 3 of its trials were lost, and lost again" in gate.stdout
    assert run("report.py", "--verify").returncode == 0
    assert run("gating.py").returncode == 1


@pytest.mark.slow
def test_a_kept_version_that_loses_its_trials_keeps_no_better_edit_out(
    solver_server: tuple[LLMServer, set[str]], real_client: Callable[..., tuple[Checkout, _Run]]
) -> None:
    """The user's provider fails on the words of the baseline, once it is one."""
    checkout, run = real_client("max_trials: 3\n")
    checkout.agent.write_text(_SAYS_WHAT_NO_PROVIDER_TAKES)
    assert run("prepare.py").stdout.startswith("baseline: 1.0000")
    _fail_on_that_word(solver_server[0])
    checkout.agent.write_text(_CAREFUL)
    gate = run("gating.py")
    assert gate.returncode == 0, gate.stdout
    assert "infrastructure fails on the kept version alone, again and again: what it lost counts 0" in gate.stdout
    assert run("report.py", "--verify").returncode == 0
    assert run("gating.py").returncode == 0


@pytest.mark.slow
def test_an_edit_that_is_tried_again_clearly_more_often_is_not_accepted(tau2: Tau2, tmp_path: Path) -> None:
    """Its trials are better, and the user's provider fails on each of them once."""
    solver, failed = Solver(tau2._tasks("mock").values()), set[str]()

    def answer(request: dict[str, Any]) -> Any:
        text = json.dumps(request)
        if request.get("tools"):
            return solver.reply(request) if "helpful and careful" in text else assistant("No.")
        if not _fails(request) or text in failed:
            return solver.reply(request)
        failed.update([text] if "unmentionable" in text else [])
        return Fault(503)

    with LLMServer(answer) as server:
        checkout, run = _real_client(tmp_path, server, "simulation_retries: 1\n")
        assert run("prepare.py").stdout.startswith("baseline: 0.0000")
        checkout.agent.write_text(
            _SAYS_WHAT_NO_PROVIDER_TAKES.replace("helpful assistant", "helpful and careful assistant")
        )
        gate = run("gating.py")
        assert gate.returncode == 1, gate.stdout
        assert re.search(
            r"reason: not accepted: (\d+) of \1 simulations of the candidate were tried again, 0 of", gate.stdout
        )
        assert run("report.py", "--verify").returncode == 0


@pytest.mark.slow
def test_killed_at_any_instant_the_same_command_comes_to_the_same_verdict(prepared: Checkout, tmp_path: Path) -> None:
    """And pays for nothing twice; the lock does not outlive its holder."""
    prepared.agent.write_text(GOOD_PROMPT)
    whole = prepared.copy(tmp_path / "whole").run("gating.py")
    environment = os.environ | {"AUTOHARNESS_VAULT": str(prepared.vault), "PYTHONPATH": str(ROOT)}
    for trials, how in ((9, SIGKILL), (15, SIGINT), (25, SIGKILL)):  # the baseline's are nine
        gate = subprocess.Popen(
            [sys.executable, "gating.py"],
            cwd=prepared.root,
            env=environment,
            stdout=PIPE,
            stderr=PIPE,
            preexec_fn=lambda: signal.signal(SIGINT, signal.default_int_handler),  # a shell may have it ignored
        )
        while len(list((prepared.kept / "trials").iterdir())) < trials and gate.poll() is None:
            time.sleep(0.01)
        gate.send_signal(how)
        _, errors = gate.communicate()
        assert gate.returncode == (130 if how == SIGINT else -SIGKILL)
        assert (b"interrupted: what was finished is kept" in errors) == (how == SIGINT)
    done = prepared.run("gating.py")
    assert _answer(done.stdout) == _answer(whole.stdout)
    assert [type(row).__name__ for row in _rows(prepared)] == ["Baseline", "Gate"]
