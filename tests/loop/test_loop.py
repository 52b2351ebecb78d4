"""The loop, whole: real commands, a real repository, the scripted coding agent; and what stops it and goes on."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from checkout import MOCK, Checkout
from coding_agent_server import CodingAgentServer
from conftest import ROOT
from llm_server import Fault, LLMServer, _completion
from loop_config import config_text, configured
from solver import Solver

from autoharness.benchmarks.tau2.adapter import Tau2
from autoharness.loop.status import note_end
from autoharness.vault.iterations import Iteration, Iterations
from autoharness.vault.ledger import Ledger
from autoharness.vault.spending import spent
from autoharness.vault.store import Store

NIGHT = ("syntax-error", "touches-other-files", "link", "helps", "hurts", "hurts", "leaves-a-process", "asks")
CRASHES = "crashes-in-every-turn"


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkout, "subprocess.CompletedProcess[str]"]:
    """A night of eight iterations, with everything that a coding agent gets wrong."""
    checkout = Checkout.make(tmp_path_factory.mktemp("night"), config_text(*NIGHT, CRASHES))
    (checkout.root / "notes.txt").write_text("the user's own")
    checkout.git("checkout", "--quiet", "-b", "mine")
    checkout.git("add", "notes.txt")
    assert checkout.run("prepare.py").returncode == 0
    return checkout, checkout.run("optimize.py")


def _iterations(checkout: Checkout) -> list[Iteration]:
    return Iterations(Store(checkout.vault)).all()


def _worktrees(checkout: Checkout) -> set[str]:
    """The folders that coding agents worked in, as the scripted one printed them."""
    transcripts = (Store(checkout.vault).folder / "iterations").glob("*/transcript.txt")
    return {word for path in transcripts for word in re.findall(r"^in (\S+)$", path.read_text(), re.MULTILINE)}


def _score(checkout: Checkout) -> float:
    """The score of the version that was kept: four tasks, so that it may well be below the baseline's."""
    score = Ledger(Store(checkout.vault)).best.row.val_score
    assert score is not None
    return score


@pytest.mark.slow
def test_each_edit_ends_as_it_deserves(night: tuple[Checkout, "subprocess.CompletedProcess[str]"]) -> None:
    checkout, done = night
    assert done.returncode == 0, done.stderr
    ends = {
        one.number: (one.end, " ".join([*one.reasons, *(one.edit.remarks if one.edit else [])]))
        for one in _iterations(checkout)
    }
    expected = [
        (1, "refused", "the file is no Python: SyntaxError"),
        (2, "no edit", "thrown away: agent/templates/tau_bench.py (changed), workspace/suite.json (changed)"),
        (3, "no edit", "agent/agent.py is a symbolic link"),
        (4, "accepted", "candidate ahead by"),
        (5, "rejected", "suite"),
        (6, "repeated", "the same edit was tried in iteration 5: rejected"),
        (7, "refused", "it starts processes (subprocess)"),
        (7, "refused", "left 1 processes behind; they were ended"),
        (8, "no edit", "the file is unchanged"),
        (9, "refused", "it does not run to an end in 2 train tasks: agent.py:"),
    ]
    for number, end, words in expected:
        assert ends[number][0] == end and words in ends[number][1], ends[number]


def test_only_the_accepted_edit_is_in_the_users_history(
    night: tuple[Checkout, "subprocess.CompletedProcess[str]"],
) -> None:
    checkout, _ = night
    assert checkout.git("log", "--format=%s").splitlines() == [
        f"harness: iteration 4, val_score {_score(checkout):.4f} (mock test, 4 tasks, offline/clerk)",
        "start",
    ]
    assert checkout.git("show", "--name-only", "--format=", "HEAD") == "agent/agent.py\n"
    assert "candidate ahead by" in checkout.git("show", "--format=%B", "--no-patch", "HEAD")
    assert checkout.git("status", "--porcelain").splitlines() == ["A  notes.txt"]
    assert checkout.git("branch", "--show-current") == "mine\n" and checkout.git("worktree", "list").count("\n") == 1
    left = [Path(note) for note in _worktrees(checkout) if Path(note).exists()]
    assert len(_worktrees(checkout)) == 9 and not left


def test_the_learnings_have_a_section_for_every_iteration(
    night: tuple[Checkout, "subprocess.CompletedProcess[str]"],
) -> None:
    checkout, _ = night
    text = (checkout.root / "workspace" / "learnings.md").read_text()
    assert re.findall(r"^## Iteration (\d+): ", text, re.MULTILINE) == [str(number) for number in range(1, 10)]
    section = text[text.index("## Iteration 4") : text.index("## Iteration 5")]
    for words in (
        "## Iteration 4: accepted (20",
        "+- Transfer the customer only where the policy demands it.",
        f"val_score: {_score(checkout):.4f}  (",
        "- train: 1 fixed, 0 broken, of 5 that were run with it",
        "- prediction: 1 of 2 tasks that it was to fix were fixed",
        "- cost: $0.0000 (coding agent $0.00, agent $0.00, user $0.00, judge $0.00)",
        "> helps: what failed conversations lack",
    ):
        assert words in section, section
    assert "new simulations" in text and text.startswith("# Learnings")


def test_the_coding_agent_is_told_what_fails_and_what_was_tried(
    night: tuple[Checkout, "subprocess.CompletedProcess[str]"],
) -> None:
    checkout, _ = night
    first, sixth = (
        ((Store(checkout.vault).folder / "iterations") / f"{number:04}" / "prompt.md").read_text()
        for number in (1, 6)
    )
    assert "2 of 5 train tasks failed" in first and "Nothing yet: this is the first edit." in first
    assert "handed over to a human agent, which the reference does not do (1)" in first
    assert "# Task impossible_task_1" in first and "## Conversation" in first
    assert "- iteration 4, accepted: helps: what failed conversations lack" in sixth
    assert "- iteration 5, rejected: hurts: saves time" in sixth
    assert "predictions so far: 1 of the " in sixth
    held_out = Ledger(Store(checkout.vault)).versions[0].row.tasks
    told = (Store(checkout.vault).folder / "iterations").rglob("prompt.md")
    everything = "".join(path.read_text() for path in [*told, checkout.root / "workspace" / "learnings.md"])
    assert held_out and not [
        task_id for task_id in held_out if f"`{task_id}`" in everything or f"# Task {task_id}\n" in everything
    ]


@pytest.mark.slow
def test_the_result_and_the_status_say_the_same(night: tuple[Checkout, "subprocess.CompletedProcess[str]"]) -> None:
    checkout, done = night
    lines = dict(line.split(": ", 1) for line in done.stdout.splitlines() if not line.startswith(" "))
    assert lines["iterations"] == "9 finished, 1 accepted" and lines["best"].startswith("iteration 4  (mock test")
    assert lines["val_score"].startswith(f"{_score(checkout):.4f}") and lines["baseline"].startswith("0.5000")
    assert lines["stopped"] == "max_iterations: 9 of 9 iterations are done"
    assert (
        lines["simulated"] and lines["isolation"] == "sandbox" and lines["questions"].endswith("asked of the holdout")
    )
    status = checkout.run("optimize.py", "--status").stdout
    assert "loop: ended on " in status and "max_iterations: 9 of 9" in status
    assert "iterations: 9 finished, 3 refused, 3 no edit, 1 accepted, 1 rejected, 1 repeated" in status
    assert f"best: {_score(checkout):.4f}  (iteration 4" in status
    assert checkout.run("report.py", "--verify").stdout.startswith("verified: 4 rows")
    assert checkout.run("report.py", "--compare", "baseline", "4").returncode == 0
    again = checkout.run("optimize.py")
    assert again.returncode == 0 and "max_iterations: 9 of 9" in again.stdout and len(_iterations(checkout)) == 9


def _started(checkout: Checkout, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
    ours = {"AUTOHARNESS_VAULT": str(checkout.vault), "PYTHONPATH": str(ROOT)} | environment
    return subprocess.Popen(
        [sys.executable, "optimize.py", *arguments],
        cwd=checkout.root,
        env=os.environ | ours,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a shell may have it ignored
    )


def _wait_for(checkout: Checkout, phase: str, process: "subprocess.Popen[str]") -> None:
    while process.poll() is None:
        note = Store(checkout.vault).folder / "loop.json"
        if note.exists() and json.loads(note.read_text()).get("phase") == phase:
            return
        time.sleep(0.005)
    raise AssertionError(process.communicate()[1])


@pytest.mark.slow
def test_ctrl_c_and_the_stop_file_end_it_and_the_same_command_goes_on(prepared: Checkout) -> None:
    checkout = configured(prepared, "helps")
    loop = _started(checkout)
    _wait_for(checkout, "screening", loop)
    assert "loop: iteration 1, " in checkout.run("optimize.py", "--status").stdout, "another terminal sees it"
    loop.send_signal(signal.SIGINT)
    printed, errors = loop.communicate()
    assert loop.returncode == 130 and "stopped: Ctrl-C" in printed and "finishing what is in flight" in errors
    assert [(one.end, one.finished) for one in _iterations(checkout)] == [("", "")]
    (checkout.root / "workspace" / "STOP").touch()
    done = checkout.run("optimize.py")
    assert done.returncode == 0 and "stopped: the file workspace/STOP" in done.stdout
    assert not (checkout.root / "workspace" / "STOP").exists()
    done = checkout.run("optimize.py")
    assert done.returncode == 0 and [one.end for one in _iterations(checkout)] == ["accepted"]
    transcript = ((Store(checkout.vault).folder / "iterations") / "0001" / "transcript.txt").read_text()
    assert transcript.count("scripted: helps") == 1, "the coding agent was asked once"


@pytest.mark.slow
def test_sigterm_ends_it_with_its_summary_also_if_it_comes_twice(prepared: Checkout) -> None:
    """`docker compose run` passes a signal on twice; the second one must not cut off what is in flight."""
    checkout = configured(prepared, "helps")
    loop = _started(checkout)
    _wait_for(checkout, "screening", loop)
    for _ in range(2):
        loop.send_signal(signal.SIGTERM)
    printed, errors = loop.communicate()
    assert loop.returncode == 130 and "stopped: SIGTERM" in printed and "best: " in printed
    assert errors.count("finishing what is in flight") == 1
    assert ": SIGTERM" in checkout.run("optimize.py", "--status").stdout.splitlines()[0]


@pytest.mark.slow
def test_ctrl_c_twice_ends_it_now(prepared: Checkout) -> None:
    """In the coding agent's turn, which would take ten minutes: it does not go on without us."""
    checkout = configured(prepared, "hangs")
    loop = _started(checkout)
    _wait_for(checkout, "edit", loop)
    time.sleep(1)
    started = time.monotonic()
    loop.send_signal(signal.SIGINT)
    time.sleep(0.5)
    loop.send_signal(signal.SIGINT)
    loop.communicate()
    assert loop.returncode == 130 and time.monotonic() - started < 30
    assert checkout.git("worktree", "list").count("\n") == 1
    assert ": Ctrl-C twice" in checkout.run("optimize.py", "--status").stdout.splitlines()[0]
    (checkout.root / "experiment_config.yaml").write_text(config_text("hangs", coding_agent_timeout_s=2.0))
    done = checkout.run("optimize.py")
    (iteration,) = _iterations(checkout)
    assert done.returncode == 0 and iteration.end == "no edit" and iteration.edit
    assert re.search(r"was ended after \d+ s \(coding_agent_timeout_s\)", iteration.edit.remarks[0])


@pytest.mark.slow
def test_it_does_not_go_on_over_the_users_own_changes(prepared: Checkout) -> None:
    checkout = configured(prepared, "helps")
    checkout.agent.write_text(checkout.agent.read_text() + "# mine\n")
    done = checkout.run("optimize.py")
    assert done.returncode == 3 and "agent/agent.py is not the version that is kept" in done.stderr
    assert checkout.agent.read_text().endswith("# mine\n")


@pytest.mark.slow
def test_a_mistake_at_the_start_leaves_what_the_last_run_said(prepared: Checkout) -> None:
    note_end(Store(prepared.vault), "max_hours: 8 of 8 hours are over")
    checkout = configured(prepared, "helps", seed=77)
    done = checkout.run("optimize.py")
    assert done.returncode == 3 and "no baseline for" in done.stderr
    assert "max_hours: 8 of 8 hours are over" in checkout.run("optimize.py", "--status").stdout


@pytest.mark.slow
def test_mini_swe_agent_edits_through_the_whole_loop_where_another_one_had_failed(prepared: Checkout) -> None:
    """The real package, against a server on loopback. One that fails without an edit is an outage, no iteration."""
    checkout, config = prepared, prepared.root / "experiment_config.yaml"
    limits = "max_iterations: 1\ncoding_agent_usd: 1.0\nmax_usd: 2.0\n"
    config.write_text(f"{MOCK}{limits}coding_agent_command: [false]\n")
    assert "must be a list of words" in checkout.run("optimize.py").stderr
    config.write_text(config.read_text().replace("[false]", "['false']"))
    done = checkout.run("optimize.py", "--no-waiting")
    assert done.returncode == 2 and "the coding agent fails: exit code 1" in done.stderr
    assert [(one.end, one.edit) for one in _iterations(checkout)] == [("", None)], "it is open"
    with config.open("w") as file:
        file.write(f"{MOCK}{limits}coding_agent: mini\n")
        file.write("coding_model: openai/scripted\nprices: {openai/scripted: {input: 1.0, output: 2.0}}\n")
    edit = (
        "sed -i 's/^You are a helpful.*/&\\nTransfer the customer only where the policy demands it./' agent/agent.py"
    )
    note = "echo 'hand over less' > workspace/note.md"
    predict = """echo '{"fixes": [], "breaks": []}' > workspace/prediction.json"""
    commands = [
        "cat PROGRAM.md workspace/diagnosis.md",
        f"{edit}; {note}; {predict}",
        "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT",
    ]
    with CodingAgentServer(commands) as server:
        provider = {"OPENAI_API_BASE": f"{server.url}/v1", "OPENAI_API_KEY": "sk-scripted-key-0123456789"}
        done = checkout.run("optimize.py", "--no-waiting", **provider)
    (iteration,) = _iterations(checkout)
    assert (done.returncode, iteration.end) == (0, "accepted"), done.stderr
    assert iteration.edit and iteration.edit.note == "hand over less\n"
    told = json.dumps(server.requests[-1]["messages"])
    assert "You make **one edit of one file" in told and "train tasks failed" in told
    assert "not_enforced: mini: it is given OPENAI_API_KEY" in done.stdout
    paid = iteration.edit.cost_usd
    assert paid == pytest.approx(3 * (1000 * 1.0 + 50 * 2.0) / 1e6)
    transcript = ((Store(checkout.vault).folder / "iterations") / "0001" / "transcript.txt").read_text()
    assert "sk-scripted-key" not in transcript + (checkout.root / "workspace" / "learnings.md").read_text()


@pytest.mark.slow
def test_a_cap_in_dollars_is_kept_and_raising_it_goes_on(tmp_path: Path, tau2: Tau2) -> None:
    """A real client, prices of our own, a server whose agent forgets an action unless it is asked not to."""
    tasks = tau2._tasks("mock")
    forgets = {task_id: 0 for task_id, task in tasks.items() if task.evaluation_criteria.actions}
    careless, careful = Solver(tasks.values(), leave_out=forgets), Solver(tasks.values())

    tokens: list[int] = []

    def answer(request: dict[str, Any]) -> Any:
        solver = careful if "check that every request is done" in json.dumps(request) else careless
        reply = solver.reply(request)
        tokens.append(json.loads(_completion(request, reply))["usage"]["total_tokens"])
        return reply

    model = "openai/priced-by-us"
    config = config_text("helps", max_trials=3).replace("offline/clerk", model)
    with LLMServer(answer) as server:
        checkout = Checkout.make(tmp_path, config)
        provider = {"OPENAI_API_BASE": server.url, "OPENAI_API_KEY": "the-key"}
        assert checkout.run("prepare.py", **provider).returncode == 0
        done = checkout.run("optimize.py", "--max-usd", "1", **provider)
        assert done.returncode == 3 and f"max_usd: no price is known for {model}" in done.stderr
        with (checkout.root / "experiment_config.yaml").open("a") as file:
            file.write(f"prices: {{{model}: {{input: 10.0, output: 10.0}}}}\n")
        tokens.clear()
        done = checkout.run("optimize.py", "--max-usd", "0.25", **provider)
        assert done.returncode == 0 and "stopped: max_usd: " in done.stdout, done.stderr
        capped = spent(Store(checkout.vault))
        assert 0.15 < capped.total <= 0.25 and [one.end for one in _iterations(checkout)] == [""]
        done = checkout.run("optimize.py", "--max-usd", "50", **provider)
        assert done.returncode == 0 and [one.end for one in _iterations(checkout)] == ["accepted"], done.stderr
        total = spent(Store(checkout.vault))
    assert total.total == pytest.approx(sum(tokens) * 10 / 1e6) and total.usd["coding agent"] == 0
    assert total.usd["agent"] > 0 and total.usd["user"] > 0


@pytest.mark.slow
def test_one_edit_on_which_a_provider_fails_does_not_stop_the_night(tmp_path: Path, tau2: Tau2) -> None:
    """On 9a969fe the loop waited for 51 minutes, ended, and did so again at every start."""
    tasks = tau2._tasks("mock")
    forgets = {task_id: 0 for task_id, task in tasks.items() if task.evaluation_criteria.actions}
    careless = Solver(tasks.values(), leave_out=forgets)

    def answer(request: dict[str, Any]) -> Any:
        return Fault(503) if "unmentionable" in json.dumps(request) else careless.reply(request)

    once = {"llm_retries": 0, "simulation_retries": 0}
    config = config_text("says-a-word", "asks", max_trials=3, **once).replace("offline/clerk", "gpt-5.4")
    with LLMServer(answer) as server:
        checkout = Checkout.make(tmp_path, config)
        provider = {"OPENAI_API_BASE": server.url, "OPENAI_API_KEY": "the-key"}
        assert checkout.run("prepare.py", **provider).returncode == 0
        done = checkout.run("optimize.py", **provider)
    assert done.returncode == 0, done.stderr
    first, second = _iterations(checkout)
    assert (first.end, second.end) == ("refused", "no edit")
    assert "the user's provider refused what the agent said" in " ".join(first.reasons)
    assert checkout.run("report.py", "--verify").returncode == 0
