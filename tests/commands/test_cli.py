"""Every command ends with the exit code that says what happened, and a person's mistake is one line."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT

from autoharness.commands.cli import Parser, run_door
from autoharness.core.command_form import COMMAND_VARIABLE
from autoharness.core.errors import Interrupted, RunLimitReached, SetupError, UserError


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


def test_sigterm_is_ctrl_c_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """A second one, as `docker compose run` sends it, does not cut off what the first one ends."""

    def command(arguments: list[str]) -> int:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
        return 0

    assert _exit_code(command) == 130
    assert capsys.readouterr() == ("", "ended by SIGTERM: the same command goes on\n")
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.slow
@pytest.mark.parametrize(("held_open", "ends"), [(True, True), (False, False)], ids=["a-client", "no-input"])
def test_a_command_in_a_container_ends_after_its_client_if_that_can_be_told(held_open: bool, ends: bool) -> None:
    """An input that is closed from the beginning, as with /dev/null, tells nothing."""
    program = (
        "import time\nfrom autoharness.commands import cli, end_signals\n"
        "end_signals._BEGUN_S = 1.0; end_signals._GRACE_S = end_signals._LOOK_S = 0.1\n"
        "cli.run_door(lambda _: print('begun', flush=True) or time.sleep(3) or 0)"
    )
    environment = os.environ | {COMMAND_VARIABLE: "docker compose run --rm autoeval python"}
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment,
    )
    assert process.stdin and process.stdout and process.stderr
    process.stdout.readline()
    time.sleep(2 if held_open else 0)
    process.stdin.close()
    code, said = process.wait(), process.stderr.read()
    assert (code, "client of this container has gone" in said) == (130 if ends else 0, ends)


def test_a_bug_is_a_traceback_and_no_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    """An uncaught exception would exit 1, and 1 is the gate's "rejected"."""
    assert _exit_code(_raising(ZeroDivisionError())) == 70
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_file_that_cannot_be_read_is_the_persons_to_mend(capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_code(_raising(PermissionError(13, "Permission denied", "workspace/suite.json"))) == 3
    line = "workspace/suite.json: Permission denied: make it readable and writable for this account"
    assert capsys.readouterr().err == f"error: {line}; the same command goes on\n"


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
    script = f"import os; from autoharness.commands.cli import run_door; run_door(lambda arguments: {command})"
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


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.EIO])
@pytest.mark.parametrize("file", [None, "vault/x"])
def test_what_the_machine_ran_out_of_is_one_line_with_the_way_out(
    number: int, file: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """On 9a969fe such an error without a file's name ended with 1: the gate's "rejected"."""
    error = OSError(number, os.strerror(number), file) if file else OSError(number, os.strerror(number))
    assert _exit_code(_raising(error)) == 3
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and ("goes on" in said or "lower max_concurrency" in said) and (file or "") in said


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EINVAL, "Invalid argument"),
        BrokenPipeError(errno.EPIPE, "Broken pipe"),
        OSError("odd"),
        SystemError(),
    ],
)
def test_any_other_error_is_a_bug_and_says_so(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    """A pipe may be a coding agent's, that died before it had read its rules."""
    assert _exit_code(_raising(error)) == 70
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("how", ["raise SystemError", "1 / 0"])
def test_what_goes_wrong_before_the_command_begins_is_no_verdict_either(tmp_path: Path, how: str) -> None:
    """Such as a dependency that is not installed."""
    script = f"import autoharness; autoharness.begin(); {how}"
    done = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 70 and "Traceback" in done.stderr


def test_nobody_who_hears_it_changes_nothing_about_the_exit_code(tmp_path: Path) -> None:
    for command, code in (("1 / 0", 70), ("int('x')", 70), ("0", 0), ("1", 1)):
        with _start(command, tmp_path, subprocess.PIPE) as door:
            assert door.stdout and door.stderr
            door.stdout.close()
            door.stderr.close()
            assert door.wait() == code


@pytest.mark.slow
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&-"])
@pytest.mark.parametrize(("command", "code"), [("0", 0), ("1", 1), ("1 / 0", 70)])
def test_a_door_that_is_started_without_its_standard_streams_ends_as_ever(
    closed: str, command: str, code: int, tmp_path: Path
) -> None:
    """Otherwise a file of the vault would get their numbers, and what is printed would go there."""
    script = "import autoharness; autoharness.begin(); from autoharness.commands.cli import run_door; "
    script += "f = open('kept', 'w'); "
    script += f"print(f.fileno(), file=f); run_door(lambda arguments: {command})"
    shell = f'exec "{sys.executable}" -c "$SCRIPT" {closed}'
    environment = {"PYTHONPATH": str(ROOT), "SCRIPT": script}
    done = subprocess.run(["/bin/sh", "-c", shell], cwd=tmp_path, env=environment, capture_output=True)
    assert done.returncode == code
    assert int((tmp_path / "kept").read_text()) > 2


def test_ctrl_c_before_the_command_begins_is_no_bug(tmp_path: Path) -> None:
    script = "import autoharness; autoharness.begin(); raise KeyboardInterrupt"
    done = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (130, "")


def test_secrets_come_from_the_env_file_unless_the_environment_has_them(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("FIRST=file\nSECOND=file\n")
    with _start("print(os.environ['FIRST'], os.environ['SECOND'])", tmp_path) as door:
        assert (door.communicate()[0], door.returncode) == ("file environment\n", 0)
