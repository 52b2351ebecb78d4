"""What is refused before anything is run, and what trials refuse before the holdout is asked."""

import random

import pytest
from conftest import TEMPLATE
from harnesses import GOOD_CODE, GOOD_PROMPT, REFERENCE_STYLE

from autoharness.core.outcomes import Outcome, Status, Trial
from autoharness.loop.screening import Screened, claimed, claims, more, problem_of, smoke_refusal

_IMPORT = "from typing import Any\n"


@pytest.mark.parametrize("source", [GOOD_CODE, GOOD_PROMPT, REFERENCE_STYLE], ids=["code", "prompt", "tau2"])
def test_an_agent_file_is_let_through(source: str) -> None:
    assert problem_of(source.encode(), TEMPLATE) == ""


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (TEMPLATE, "the file is unchanged"),
        ("class HarnessAgent:\n    def f(:", "the file is no Python: SyntaxError, line 2: "),
        ("x = '\0'", "line 1 has the control character U+0000"),
        ("-" * 100_000 + "1", "the file is no Python"),
        ("x = 1\n", "the file defines no class HarnessAgent"),
    ],
    ids=["unchanged", "syntax", "null-byte", "nested-too-deep", "no-agent"],
)
def test_what_is_no_new_agent_file_is_named(source: str, problem: str) -> None:
    assert problem_of(source.encode(), TEMPLATE).startswith(problem)


@pytest.mark.parametrize("odd", [b"\xff\xfe", b"x = '\xed\xa0\x80'", "x = 'ä'".encode("latin-1")])
def test_what_is_no_text_is_named(odd: bytes) -> None:
    assert problem_of(b"# be kind\n" + odd, TEMPLATE) == "the file is no UTF-8 text: line 2"


def test_what_python_reads_otherwise_than_a_diff_is_named_with_its_line() -> None:
    cookie = problem_of(f"# coding: utf-7\n{TEMPLATE}".encode(), TEMPLATE)
    assert cookie == "line 1 says that the file is utf-7: leave that out, agent files are UTF-8"
    assert problem_of(f"\ufeff{TEMPLATE}".encode(), TEMPLATE).startswith("line 1 has the invisible character U+FEFF")
    assert "carriage return" in problem_of(f"{TEMPLATE}# kind\rx = 1\n".encode(), TEMPLATE)


def test_a_key_does_not_get_into_the_history(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-a-secret-key-0123456789")
    assert problem_of(f"{TEMPLATE}# sk-a-secret-key-0123456789\n".encode(), TEMPLATE) == "the file has a key in it"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("added", "what"),
    [
        ("import subprocess\n", "starts processes (subprocess)"),
        ("from pathlib import Path\n", "reads or writes files (pathlib)"),
        ("import urllib.request\n", "uses the network (urllib.request)"),
        ("import os\nos.system('x')\n", "starts processes (os.system)"),
        ("from os import popen\n", "starts processes (os.popen)"),
        ("def f():\n    import ctypes\n", "reaches into the interpreter (ctypes)"),
        ("text = open('tasks.json').read()\n", "reads or writes files (open)"),
        ("__import__('os')\n", "runs text as code (__import__)"),
        ("().__class__.__base__\n", "reaches into the interpreter (__base__)"),
        ("import base64\n", "decodes data (base64)"),
        ("eval('1')\n", "runs text as code (eval)"),
    ],
)
def test_what_has_no_place_in_an_agent_file_is_named_with_its_line(added: str, what: str) -> None:
    found = problem_of((added + TEMPLATE).encode(), TEMPLATE)
    assert found.startswith("line ") and what in found and f"{what}: " in found, "and how to write it instead"
    assert problem_of(f"{added}{TEMPLATE}# more\n".encode(), added + TEMPLATE) == "", (
        "what the kept version has stays"
    )


@pytest.mark.parametrize(
    "harmless",
    [
        "import json\nimport re\n",
        "import os\nmodel = os.environ.get('AGENT_MODEL')\n",
        "def f(): return __name__\n",
        "class A:\n    def __init__(self): super().__init__()\n    def open(self): return self.__class__.__name__\n",
        "def f(open): return open\n",
    ],
)
def test_what_a_harness_needs_is_let_through(harmless: str) -> None:
    assert problem_of((harmless + TEMPLATE).encode(), TEMPLATE) == ""


def _outcome(task: str, status: Status, agent: str = "new", number: int = 0) -> Outcome:
    reward = {Status.PASSED: 1.0, Status.PROVIDER_ERROR: None}.get(status, 0.0)
    return Outcome(Trial(task, number, 1, agent), status, reward, "agent.py:3: NameError: x")


def test_only_a_file_that_never_runs_to_an_end_fails_the_smoke_test() -> None:
    error, failed, lost = Status.AGENT_ERROR, Status.FAILED, Status.PROVIDER_ERROR
    assert "agent.py:3: NameError" in smoke_refusal([_outcome("1", error), _outcome("2", Status.TIMED_OUT)])
    assert "1 train tasks" in smoke_refusal([_outcome("1", error), _outcome("2", lost)])
    assert smoke_refusal([_outcome("1", error), _outcome("2", failed)]) == ""
    assert smoke_refusal([_outcome("1", lost)]) == smoke_refusal([]) == ""


def test_tasks_that_it_is_to_fix_are_ones_that_fail() -> None:
    before = {"1": 0.0, "2": 1.0, "3": None, "4": 0.0}
    assert claimed(["4", "2", "3", "1", "4", "unknown"], before) == ["4", "1"]


KINDS = {"p": Status.PASSED, "f": Status.FAILED, "?": Status.PROVIDER_ERROR}


def _claims(first: str, fresh: str, incumbent: str) -> Screened:
    """`first`: the trials that the incumbent failed; `fresh` and `incumbent`: further ones of both, task by task."""
    tasks = len(first)
    sides = ((first, "new", 0), (fresh, "new", 1), (incumbent, "old", 1))
    outcomes = [
        _outcome(str(n % tasks), KINDS[how], agent, number + n // tasks)
        for some, agent, number in sides
        for n, how in enumerate(some)
    ]
    return claims(outcomes, "new")


@pytest.mark.parametrize(
    ("first", "fresh", "incumbent", "behind", "refused"),
    [
        ("ff", "ff", "ff", False, False),
        ("pf", "ff", "pf", False, False),
        ("ff", "ff", "pf", True, False),
        ("ff", "fp", "pp", True, False),
        ("pp", "ff", "pp", False, False),
        ("ff", "f?", "fp", False, False),
        ("ff", "ffffff", "ppppff", False, True),
        ("ff", "ffffpp", "ppppff", True, False),
        ("ffff", "ffff", "pppp", False, True),
        ("f", "ffff", "pppp", False, True),
    ],
    ids=[
        "nothing-changes",
        "made-up-for",
        "one-behind-is-chance",
        "behind-in-one-is-chance",
        "fixed-both",
        "lost-trials-count-for-neither",
        "loses-again-and-again",
        "loses-and-wins",
        "loses-everywhere-at-once",
        "loses-the-only-one-again-and-again",
    ],
)
def test_an_edit_that_loses_where_it_is_to_win_is_refused_unless_that_is_chance(
    first: str, fresh: str, incumbent: str, behind: bool, refused: bool
) -> None:
    screened = _claims(first, fresh, incumbent)
    assert (screened.is_behind, bool(screened.refusal)) == (behind, refused)
    assert screened.rewards == {str(task): 1.0 if how == "p" else 0.0 for task, how in enumerate(first)}


@pytest.mark.parametrize("tasks", [1, 3, 8])
def test_an_edit_that_changes_nothing_is_hardly_ever_refused(tasks: int) -> None:
    """By one fresh trial of each task it was 0.17 to 0.38."""
    draw = random.Random(tasks)

    def drawn(count: int) -> str:
        return "".join("p" if draw.random() < 0.4 else "f" for _ in range(count))

    def is_refused() -> bool:
        first, pairs = drawn(tasks), tasks * more([""] * tasks)
        fresh, incumbent = drawn(pairs), drawn(pairs)
        screened = _claims(first, fresh[:tasks], incumbent[:tasks])
        return bool((_claims(first, fresh, incumbent) if screened.is_behind else screened).refusal)

    assert sum(is_refused() for _ in range(150)) < 0.06 * 150
