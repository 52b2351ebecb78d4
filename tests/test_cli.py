"""Every command ends with the exit code that says what happened, and a person's mistake is one line."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT

from autoharness.cli import Parser, run_door
from autoharness.errors import Interrupted, RunLimitReached, SetupError, UserError


@pytest.fixture(autouse=True)
def command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that the tests' own does not reach, in a folder without `.env`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["door.py", "--trials", "2"])


def _exit_code(command: Callable[[list[str]], int]) -> object:
    with pytest.raises(SystemExit) as exit_:
        run_door(command)
    return exit_.value.code


def _raising(error: BaseException) -> Callable[[list[str]], int]:
    def command(arguments: list[str]) -> int:
        raise error

    return command


@pytest.mark.parametrize("code", [0, 1, 2])
def test_what_the_command_returns_is_the_exit_code(code: int) -> None:
    assert _exit_code(lambda arguments: code) == code


def test_the_command_gets_the_arguments_without_its_own_name() -> None:
    assert _exit_code(lambda arguments: len(arguments) if arguments == ["--trials", "2"] else 99) == 2


@pytest.mark.parametrize("error", [UserError, SetupError])
def test_a_persons_mistake_is_one_line_and_exit_3(error: type[UserError], capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_code(_raising(error("trials must be int"))) == 3
    assert capsys.readouterr() == ("", "error: trials must be int\n")


def test_a_spent_budget_is_one_line_and_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_code(_raising(RunLimitReached("max_run_tokens"))) == 2
    assert capsys.readouterr() == ("", "stopped: max_run_tokens\n")


def test_ctrl_c_is_exit_130() -> None:
    assert _exit_code(_raising(KeyboardInterrupt())) == 130


def test_ctrl_c_in_a_run_of_trials_says_that_what_was_finished_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_code(_raising(Interrupted())) == 130
    line = "interrupted: what was finished is kept; the same command runs the rest\n"
    assert capsys.readouterr() == ("", line)


def test_a_bug_is_a_traceback_and_no_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    """An uncaught exception would exit 1, and 1 is the gate's "rejected"."""
    assert _exit_code(_raising(ZeroDivisionError())) == 70
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_file_that_cannot_be_read_is_the_persons_to_mend(capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_code(_raising(PermissionError(13, "Permission denied", "workspace/suite.json"))) == 3
    assert capsys.readouterr().err == "error: workspace/suite.json: Permission denied\n"


@pytest.mark.parametrize(
    "arguments",
    [["--trials", "two"], ["--unknown"], ["--split", "x"]],
    ids=["type", "unknown", "choice"],
)
def test_argparse_misuse_is_one_line_and_exit_3(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    parser = Parser(prog="door.py")
    parser.add_argument("--trials", type=int)
    parser.add_argument("--split", choices=["train"])
    with pytest.raises(SystemExit) as exit_:
        parser.parse_args(arguments)
    assert exit_.value.code == 3
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("door.py: ")
    assert err.endswith(" (see --help)\n")


def _start(command: str, folder: Path, errors: int | None = None) -> "subprocess.Popen[str]":
    """A door whose command is this expression, in a process of its own."""
    script = f"import os; from autoharness.cli import run_door; run_door(lambda arguments: {command})"
    environment = {"PYTHONPATH": str(ROOT), "SECOND": "environment"}
    return subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=errors,
    )


def test_a_reader_that_has_had_enough_ends_the_command_without_a_word(tmp_path: Path) -> None:
    with _start("print('x' * 1_000_000)", tmp_path, subprocess.PIPE) as door:
        assert door.stdout and door.stderr
        door.stdout.close()
        assert (door.stderr.read(), door.wait()) == ("", 130)


def test_secrets_come_from_the_env_file_unless_the_environment_has_them(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("FIRST=file\nSECOND=file\n")
    with _start("print(os.environ['FIRST'], os.environ['SECOND'])", tmp_path) as door:
        assert (door.communicate()[0], door.returncode) == ("file environment\n", 0)
