"""`--verbose` shows conversations while they go on, harmlessly, and none that is held out."""

import io
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from checkout import Checkout
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from llm_server import LLMServer
from solver import Solver

from autoharness.benchmarks.tau2.adapter import Tau2
from autoharness.commands.transcript import Transcript
from autoharness.core.outcomes import Outcome, Status, Trial

TRIAL = Trial("5", 0, 7)
CALL = {"id": "1", "name": "look", "arguments": {"at": "it"}}
CONVERSATION: list[dict[str, Any]] = [
    {"role": "user", "content": "Hi!\nIt is me.", "tool_calls": None},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "content": "nothing there", "error": True},
]
LINES = [
    "[5] 0 user: Hi!",
    "[5]   It is me.",
    '[5] 1 assistant calls look({"at": "it"})',
    "[5] 2 tool, with an error: nothing there",
]
END = ["[5] failed, reward 0.00: user_stop", "[5] - DB: 0", '[5] - NOT made: assistant: look({"at": "it"})']


def _outcome(messages: list[dict[str, Any]]) -> Outcome:
    action = {"action": {"requestor": "assistant", "name": "look", "arguments": {"at": "it"}}, "action_match": False}
    checks = {"reward_breakdown": {"DB": 0.0}, "action_checks": [action]}
    return Outcome(TRIAL, Status.FAILED, 0.0, termination="user_stop", reward_info=checks, messages=messages)


def _printed(tell: Any) -> list[str]:
    stream = io.StringIO()
    tell(Transcript(stream))
    return stream.getvalue().splitlines()


def test_messages_come_with_roles_calls_and_results_and_then_what_was_checked() -> None:
    def tell(transcript: Transcript) -> None:
        for place, message in enumerate(CONVERSATION):
            transcript.on_message(TRIAL, place, message)
        transcript.on_trial_end(_outcome(CONVERSATION))

    assert _printed(tell) == [*LINES, *END]


def test_what_was_run_before_is_shown_from_the_vault() -> None:
    assert _printed(lambda transcript: transcript.on_trial_end(_outcome(CONVERSATION))) == [*LINES, *END]


def test_a_conversation_that_begins_anew_says_so() -> None:
    def tell(transcript: Transcript) -> None:
        for _ in range(2):
            transcript.on_message(TRIAL, 0, CONVERSATION[0])

    assert _printed(tell) == [*LINES[:2], "[5] begins again: something broke it off", *LINES[:2]]


@given(st.text(st.characters(exclude_categories=[]) | st.sampled_from("\x1b\r\x07\x9b\n"), max_size=60), st.data())
def test_nothing_that_is_said_moves_a_terminal(text: str, data: st.DataObject) -> None:
    """Not the name of a tool either, nor an argument; and each line says whose it is."""
    call = {"id": "1", "name": text, "arguments": {text: text}}
    message = {"role": data.draw(st.sampled_from(["user", "assistant"])), "content": text, "tool_calls": [call]}
    for line in _printed(lambda transcript: transcript.on_message(TRIAL, 0, message)):
        assert line.startswith("[5] ")
        assert all(one.isprintable() or one in " \t" for one in line)


def test_a_long_answer_is_cut() -> None:
    (line,) = _printed(lambda one: one.on_message(TRIAL, 0, {"role": "tool", "content": "x" * 5000}))
    assert line.endswith("xxx ... (1000 more characters)") and len(line) < 4100


@pytest.mark.slow
def test_a_real_run_shows_what_is_said_before_it_has_ended(
    prepared: Checkout, tau2: Tau2, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The LLM answers for the third time only after the first words were seen; results stay on stdout."""
    solver, seen, asked = Solver(tau2._tasks("mock").values()), threading.Event(), []

    def answer(request: dict[str, Any]) -> Any:
        asked.append(request)
        if len(asked) > 2:
            assert seen.wait(30), "nothing was shown while the conversation went on"
        return solver.reply(request)

    with LLMServer(answer) as server:
        monkeypatch.setenv("OPENAI_API_BASE", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        settings = ["--agent-model", "openai/solver", "--task-ids", "create_task_1", "--verbose"]
        (prepared.root / "experiment_config.yaml").write_text("domain: mock\n")
        process = subprocess.Popen(
            [sys.executable, "benchmark.py", *settings],
            cwd=prepared.root,
            env=os.environ | {"AUTOHARNESS_VAULT": str(prepared.vault), "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr and process.stdout
        lines = []
        for line in process.stderr:
            lines.append(line)
            if line.startswith("[create_task_1] 1 user: "):
                seen.set()
        assert process.wait() == 0, lines
        assert any(line.startswith("[create_task_1] passed, reward 1.00") for line in lines)
        assert process.stdout.readline().startswith("val_score: 1.0000")


@pytest.mark.slow
def test_held_out_conversations_are_refused_without_a_reveal(prepared: Checkout, tau2: Tau2) -> None:
    held_out = tau2.facts("mock").splits["test"]
    for asked in (["--split", "test"], ["--task-ids", held_out[0]]):
        done = prepared.run("benchmark.py", *asked, "--verbose")
        assert done.returncode == 3 and not done.stdout
        assert "held out" in done.stderr and "[" + held_out[0] not in done.stderr
    shown = prepared.run("benchmark.py", "--task-ids", held_out[0], "--verbose", "--reveal-held-out")
    assert f"[{held_out[0]}] 0 assistant: " in shown.stderr
    assert Path(prepared.kept / "holdout.jsonl").read_text().splitlines()[-1].rstrip().endswith('"revealed": true}')
