"""What a machine can do to a command, for real: one line names it and the way out, and nothing is lost."""

import fcntl
import json
import os
import pty
import resource
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from checkout import Checkout
from conftest import ROOT
from small_disk import on_a_disk

from autoharness.host import landlock
from autoharness.vault.iterations import Iterations
from autoharness.vault.store import Store

pytestmark = pytest.mark.slow


SUPPORT = ROOT / "tests" / "support"
LONGEST_S = 240


def environment_of(checkout: Checkout) -> dict[str, str]:
    return os.environ | {"AUTOHARNESS_VAULT": str(checkout.vault), "PYTHONPATH": str(ROOT)}


def run(checkout: Checkout, *command: str, **how: object) -> "subprocess.CompletedProcess[str]":
    environment = environment_of(checkout)
    return subprocess.run(
        command, cwd=checkout.root, env=environment, capture_output=True, text=True, timeout=LONGEST_S, **how
    )  # type: ignore[call-overload,no-any-return]


def errors(done: "subprocess.CompletedProcess[str]") -> list[str]:
    """Its error lines; each error is one, and nothing is a traceback."""
    assert "Traceback" not in done.stderr + done.stdout
    return [line for line in done.stderr.splitlines() if line.startswith("error: ")]


def with_night(checkout: Checkout, *edits: str) -> Checkout:
    arguments = json.dumps(["--bank", str(ROOT / "examples" / "edits.py"), "--names", *edits])
    with (checkout.root / "experiment_config.yaml").open("a") as config:
        config.write(f"coding_agent: scripted\ncoding_agent_args: {arguments}\nmax_iterations: {len(edits)}\n")
    return checkout


def test_a_disk_that_is_full_or_read_only_is_named_and_then_the_same_command_goes_on(
    prepared: Checkout, tmp_path: Path
) -> None:
    script = f"""
import shutil, subprocess
def door():
    done = subprocess.run([sys.executable, "benchmark.py", "--trials", "3"], capture_output=True, text=True)
    print(done.returncode, done.stderr.splitlines()[-1 if done.returncode else 0])
shutil.copytree({str(prepared.vault)!r}, disk.folder / "vault")
with disk.filled():
    door()
disk.be_written(False)
door()
disk.be_written(True)
door()
"""
    prepared.vault = tmp_path / "disk" / "vault"
    done = on_a_disk(tmp_path / "disk", 4, script, cwd=prepared.root, env=environment_of(prepared))
    full, closed, room = done.stdout.splitlines()
    assert full.startswith(f"3 error: {prepared.vault}") and full.endswith("the same command goes on"), full
    assert "the disk is full: make room there" in full and room.startswith("0 "), done.stdout
    assert closed.startswith(f"3 error: the vault {prepared.vault} cannot be used: "), closed
    assert "the disk is read-only: make it readable and writable" in closed


@pytest.mark.parametrize("stream", ["stderr", "stdout"])
def test_a_log_on_a_full_disk_ends_nothing_and_results_that_cannot_be_written_are_no_verdict(
    stream: str, prepared: Checkout
) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123
        environment = environment_of(prepared)
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: full}
        command = [sys.executable, "benchmark.py"]
        done = subprocess.run(command, cwd=prepared.root, env=environment, text=True, **streams)  # type: ignore[call-overload]
    if stream == "stderr":
        assert (done.returncode, "statuses: " in done.stdout) == (0, True)
    else:
        assert done.returncode == 3
        assert errors(subprocess.CompletedProcess([], 3, "", done.stderr)) == [
            "error: standard output: the disk is full: make room there, and the same command goes on"
        ]


@pytest.mark.parametrize("ignored", [True, False], ids=["nohup", "SIGHUP ends it"])
def test_a_lost_terminal_ends_no_night_that_ignores_it_and_another_goes_on_later(
    ignored: bool, prepared: Checkout
) -> None:
    with_night(prepared, "shorter-code")
    ours, theirs = pty.openpty()

    def own_terminal() -> None:
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)

    environment = environment_of(prepared) | {"TERM": "xterm"}
    loop = subprocess.Popen(
        [sys.executable, "optimize.py"],
        cwd=prepared.root,
        env=environment,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        preexec_fn=own_terminal,
    )
    os.close(theirs)
    until = time.monotonic() + LONGEST_S
    while not list(prepared.vault.glob("inner-*/loop.json")) and time.monotonic() < until:
        time.sleep(0.02)
    os.close(ours)  # the panel is on its way there
    printed, _ = loop.communicate(timeout=LONGEST_S)
    if ignored:
        assert (loop.returncode, "iterations: 1 finished" in printed) == (0, True), printed
    else:
        assert loop.returncode == -signal.SIGHUP
        again = prepared.run("optimize.py")
        assert (again.returncode, "iterations: 1 finished" in again.stdout) == (0, True), again.stderr


def limited_to(files: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))


def test_with_few_open_files_there_are_fewer_conversations_at_a_time(prepared: Checkout) -> None:
    command = [sys.executable, "benchmark.py", "--trials", "20", "--concurrency", "64"]
    done = run(prepared, *command, preexec_fn=lambda: limited_to(64))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ulimit -n is too low for 64 conversations at a time" in done.stderr and "setup_error" not in done.stdout
    [line] = errors(done := run(prepared, *command, preexec_fn=lambda: limited_to(34)))
    assert done.returncode == 3 and line.startswith("error: ulimit -n: 34 open files are allowed")


@pytest.mark.skipif(landlock.abi() < 1, reason="the kernel has no Landlock")
@pytest.mark.parametrize("layers", [15, 16])
def test_sixteen_landlock_layers_are_said_and_run_nothing_unconfined(layers: int, prepared: Checkout) -> None:
    stacked = [sys.executable, str(SUPPORT / "stacked_layers.py"), str(layers), sys.executable]
    done = run(prepared, *stacked, "benchmark.py", "--trials", "2")
    [line] = errors(done)
    assert done.returncode == 3 and "Landlock's 16 layers" in line and "start it outside" in line


@pytest.mark.skipif(landlock.abi() < 1, reason="the kernel has no Landlock")
def test_a_coding_agent_that_cannot_be_confined_is_not_started(tmp_path: Path) -> None:
    reads, writes = os.pipe()
    child = str(ROOT / "autoharness" / "loop" / "coding_agent_child.py")
    stacked = [sys.executable, str(SUPPORT / "stacked_layers.py"), "16", sys.executable]
    setup = {"command": ["/bin/touch", str(tmp_path / "ran")], "folder": str(tmp_path), "environment": {}}
    setup |= {"prompt": "", "rules": [["/", landlock.OWN]], "ports": [], "network": True, "landlock_abi": 2}
    command = [*stacked, "-I", "-B", child, str(writes)]
    with subprocess.Popen(command, pass_fds=[writes], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        os.close(writes)
        assert process.stdin
        process.stdin.write(json.dumps(setup).encode() + b"\n")
        process.stdin.flush()
        process.wait(LONGEST_S)
    with os.fdopen(reads) as report:
        assert "16 layers" in json.loads(report.readline())["unconfined"]
    assert not (tmp_path / "ran").exists()


def test_a_clock_that_is_set_back_all_the_time_changes_nothing(prepared: Checkout) -> None:
    with_night(prepared, "shorter-code")
    command = [sys.executable, str(SUPPORT / "clock_back.py"), "optimize.py", "--max-hours", "0.5"]
    done = run(prepared, *command)
    assert (done.returncode, errors(done)) == (0, []), done.stderr
    assert "iterations: 1 finished" in done.stdout and "max_iterations: 1 of 1" in done.stdout
    [iteration] = Iterations(Store(prepared.vault)).all()
    assert 0 < iteration.seconds < LONGEST_S
    verified = prepared.run("report.py", "--verify")
    assert verified.returncode == 0 and "0 findings" in verified.stdout, verified.stdout


def test_a_home_that_is_none_is_named(prepared: Checkout) -> None:
    """Relative, it would be another one in each process, and in the checkout."""
    [line] = errors(done := prepared.run("benchmark.py", AUTOHARNESS_VAULT="", HOME="relative"))
    assert done.returncode == 3 and "set HOME, or AUTOHARNESS_VAULT, to an absolute path" in line
