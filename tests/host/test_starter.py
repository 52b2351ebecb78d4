"""The starter of agent hosts: one that fails is ended, and leaves nothing."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from conftest import TEMPLATE

from autoharness.core.errors import HostFailed
from autoharness.host import starter
from autoharness.host.pool import Hosts
from autoharness.host.process import AgentFile
from autoharness.host.starter import Confinement, HostStarter


def test_one_that_does_not_answer_in_time_is_ended(tmp_path: Path) -> None:
    """Its late answer would be taken for that of the next question: another host's end."""
    slow = HostStarter(Confinement("process", tmp_path))
    try:
        slow._control.settimeout(0.1)
        slow._process.send_signal(signal.SIGSTOP)
        assert slow.ask({"look": 1}) is None
        assert slow._process.wait(5) == -signal.SIGKILL
        assert slow.ask({"look": 1}) is None
    finally:
        slow._process.kill()
        slow.close()


def test_one_that_does_not_begin_in_time_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class Started(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *arguments: object, **named: object) -> None:
            super().__init__(*arguments, **named)  # type: ignore[call-overload]
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Started)
    monkeypatch.setattr(starter, "_LONGEST_START_S", 0.001)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(HostFailed, match="timed out") as kept:  # what it holds is not collected
        HostStarter(Confinement("process", tmp_path))
    assert kept and started[0].returncode is not None
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_one_that_died_is_replaced_and_its_agent_files_are_removed(tmp_path: Path) -> None:
    hosts = Hosts({"x": AgentFile(TEMPLATE, "m", None)}, 10, Confinement("sandbox", tmp_path))
    try:
        for _ in range(2):
            with hosts.host("x"):
                assert hosts._starter
            os.kill(hosts._starter._process.pid, signal.SIGKILL)
            hosts._starter._process.wait()
            assert len(list(tmp_path.iterdir())) == 1
    finally:
        hosts.close()
    assert not list(tmp_path.iterdir())
