"""The scan runs in a process of its own: what ends that process refuses the edit, and ends nothing else."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import TEMPLATE

from autoharness.benchmarks.leaks import scan_process
from autoharness.benchmarks.leaks.leak_scan import Leak
from autoharness.benchmarks.leaks.records import Secrets
from autoharness.core.errors import SetupError

SECRETS = Secrets(
    identifiers={"w2378156": "the order id #W2378156"},
    names=frozenset({("mia", "li")}),
    phrases=frozenset({"a b c d e f g h"}),
    postcodes=frozenset({"94183"}),
    given=frozenset({"order"}),
)
BREAKING = {
    "ends": "import os\nos.kill(os.getpid(), 11)",
    "raises": "raise KeyError('a bug')",
    "hangs": "while True: pass",
    "takes all memory": "x = [bytes(1 << 30) for _ in range(9)]",
    "prints": "print('not an answer')",
}


def breaking(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str, always: bool = False) -> None:
    """Have the scan break in this way: on files with the word BREAK, or always."""
    child = Path(scan_process.__file__).with_name("scan_child.py")
    indented = code.replace("\n", "\n        ")
    text = child.read_text().replace("Path(__file__).parents[3]", repr(str(child.parents[3])) + " or Path()")
    text = text.replace("_MOST_CPU_S = 60", "_MOST_CPU_S = 2")
    assert text.count("    asked = question[") == text.count('    if "problem" in question:') == 1
    test = f"    if {always} or 'BREAK' in str(question):\n        {indented}\n"
    text = text.replace('    if "problem" in question:', f'{test}    if "problem" in question:')
    (tmp_path / "scan_child.py").write_text(text)
    monkeypatch.setattr(scan_process, "_CHILD", tmp_path / "scan_child.py")


def test_what_is_known_of_the_records_comes_through_as_it_is() -> None:
    assert Secrets.from_json(SECRETS.to_json()) == SECRETS


def test_it_answers_as_the_scan_itself_does() -> None:
    after = f"{TEMPLATE}# order W2378156 \ud800\n"
    leaks = scan_process.scan(TEMPLATE, after, SECRETS, TEMPLATE)
    line = TEMPLATE.count("\n") + 1
    assert Leak(line, "# order W2378156", "carries the order id #W2378156") in [
        Leak(one.line, one.text.strip(), one.what) for one in leaks
    ]
    assert scan_process.scan(TEMPLATE, f"{TEMPLATE}# be kind\n", SECRETS, TEMPLATE) == []
    assert scan_process.problem_of(f"{TEMPLATE}# be kind\n", TEMPLATE) == ""


@pytest.mark.slow
@pytest.mark.parametrize("code", BREAKING.values(), ids=BREAKING)
def test_a_file_that_breaks_the_scan_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str) -> None:
    breaking(monkeypatch, tmp_path, code)
    (leak,) = scan_process.scan(TEMPLATE, f"{TEMPLATE}# BREAK\n", SECRETS, TEMPLATE)
    assert leak.line == 1 and "breaks the scan" in leak.what
    assert "breaks the scan" in scan_process.problem_of(f"{TEMPLATE}# BREAK\n", TEMPLATE)
    assert scan_process.scan(TEMPLATE, f"{TEMPLATE}# be kind\n", SECRETS, TEMPLATE) == []


def test_a_scan_that_breaks_on_every_file_is_no_edits_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    breaking(monkeypatch, tmp_path, BREAKING["raises"], always=True)
    with pytest.raises(SetupError, match="a bug"):
        scan_process.scan(TEMPLATE, f"{TEMPLATE}# be kind\n", SECRETS, TEMPLATE)
    monkeypatch.setattr(scan_process, "_CHILD", tmp_path / "gone.py")
    with pytest.raises(SetupError, match="cannot be scanned here"):
        scan_process.problem_of(f"{TEMPLATE}# be kind\n", TEMPLATE)


def test_it_is_given_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-a-secret-key-0123456789")
    given: dict[str, Any] = {}

    def run(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[bytes]:
        given.update(options["env"])
        return subprocess.CompletedProcess([], 0, b'{"problem": ""}', b"")

    monkeypatch.setattr(scan_process.subprocess, "run", run)
    scan_process.problem_of("x = 1\n", "")
    assert set(given) == {name for name in scan_process._KEPT if name in os.environ}
