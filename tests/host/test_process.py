"""The agent host from the worker's side: its process, its time, its end."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, TEMPLATE
from lone_host import SETUP, LoneHost

from autoharness.core.errors import AgentError, HostDied, HostFailed, HostKilled
from autoharness.host.process import AgentFile, Host
from autoharness.host.reply import checked_reply
from autoharness.host.starter import Confinement, HostStarter

USER_SAYS = {"role": "user", "content": "Hello"}


def complete(request: dict[str, Any]) -> dict[str, Any]:
    words = request["messages"][-1]["content"]
    return {"choices": [{"message": {"role": "assistant", "content": f"You said: {words}"}}]}


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Callable[..., Host]]:
    opened: list[Host] = []

    def start(source: str = TEMPLATE, timeout_s: float = 10, mode: str = "sandbox", seccomp: bool = True) -> Host:
        confinement = Confinement(mode, tmp_path, seccomp=seccomp)
        opened.append(LoneHost(AgentFile(source, "m", None), timeout_s, confinement))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


def test_a_conversation_through_the_pipe(host: Callable[..., Host]) -> None:
    agent = host()
    agent.call("start", complete, **SETUP)
    assert agent.call("next", complete, message=USER_SAYS) == {"content": "You said: Hello", "tool_calls": []}
    assert agent.call("next", complete, message={"role": "user", "content": "Hi"})["content"] == "You said: Hi"


def test_closing_ends_the_process_and_its_children_and_removes_its_files(host: Callable[..., Host]) -> None:
    source = (
        TEMPLATE
        + "\nimport subprocess\nchild = subprocess.Popen(['/bin/sleep', '60'])\nprint(child.pid, flush=True)\n"
    )
    agents = host(source, mode="process")  # the sandbox lets it start none
    agents.call("start", complete, **SETUP)
    deadline = time.monotonic() + 5
    while not agents._last_words() and time.monotonic() < deadline:
        time.sleep(0.01)
    grandchild = int(agents._last_words()[0])
    scratch = agents._scratch
    assert scratch.exists()
    agents.close()
    assert not scratch.exists() and not agents.alive
    deadline = time.monotonic() + 5
    while _runs(grandchild) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _runs(grandchild)


def _runs(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_a_death_is_told_with_its_last_words(host: Callable[..., Host]) -> None:
    agents = host("import os, sys\nprint('so long', flush=True)\nos._exit(3)")
    with pytest.raises(HostDied, match=r"exit code 3.*so long") as raised:
        agents.call("start", complete, **SETUP)
    assert not raised.value.hung


def test_a_host_without_a_file_to_open_is_dead(host: Callable[..., Host]) -> None:
    """There may be none left to say so in the channel."""
    agents = host("import os\nkept = []\nwhile True:\n    kept.append(open(os.devnull))")
    with pytest.raises(HostDied, match=r"out of files: .*Too many open files"):
        agents.call("start", complete, **SETUP)


def test_a_host_that_somebody_else_killed_is_nobodys_fault(host: Callable[..., Host]) -> None:
    agents = host("import time\ntime.sleep(60)")
    threading.Timer(0.2, os.kill, [agents._process.pid, signal.SIGKILL]).start()
    with pytest.raises(HostKilled, match=r"killed \(SIGKILL\)"):
        agents.call("start", complete, **SETUP)


@pytest.mark.parametrize(("mode", "seccomp"), [("sandbox", False), ("process", True)], ids=["no-seccomp", "process"])
def test_a_host_that_can_kill_itself_has_failed(host: Callable[..., Host], mode: str, seccomp: bool) -> None:
    """Otherwise an agent would void the trials that it is about to fail."""
    agents = host("import os\nos.kill(os.getpid(), 9)", mode=mode, seccomp=seccomp)
    with pytest.raises(HostDied, match="SIGKILL"):
        agents.call("start", complete, **SETUP)


def test_a_host_that_filled_the_memory_before_it_was_killed_brought_it_on_itself(host: Callable[..., Host]) -> None:
    agents = host("import time\nfull = bytearray(400_000_000)\nprint('full', flush=True)\ntime.sleep(60)")

    def kill_when_full() -> None:
        while not agents._last_words():
            time.sleep(0.01)
        os.kill(agents._process.pid, signal.SIGKILL)

    threading.Thread(target=kill_when_full).start()
    with pytest.raises(HostDied, match=r"with \d{3} MB of memory"):
        agents.call("start", complete, **SETUP)


def test_hosts_end_with_a_worker_that_is_killed(tmp_path: Path) -> None:
    """Also one whose agent holds the interpreter's lock, so that it never sees that its channel is closed."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom lone_host import *\n"
        f"source = 'import re, sys\\nprint(1, flush=True)\\nre.match(r\\'(a+)+$\\', \\'a\\' * 60 + \\'b\\')'\n"
        f"host = LoneHost(AgentFile(source, 'm', None), 60, Confinement('sandbox', Path({str(tmp_path)!r})))\n"
        "print(host._process.pid, flush=True)\n"
        "import threading\nthreading.Thread(target=host.call, args=('start', print), kwargs=SETUP).start()\n"
        "while not host._last_words(): pass\nprint('it is at it', flush=True)\n"
    )
    path = f"{ROOT}:{ROOT / 'tests' / 'support'}"
    worker = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, text=True
    )
    assert worker.stdout
    pid = int(worker.stdout.readline())
    assert worker.stdout.readline() == "it is at it\n"
    worker.kill()
    worker.wait()
    deadline = time.monotonic() + 10
    while _runs(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _runs(pid)


def test_a_hang_is_a_death_that_says_so(host: Callable[..., Host]) -> None:
    agents = host("import time\ntime.sleep(60)", timeout_s=0.3)
    with pytest.raises(HostDied, match="agent_timeout_s") as raised:
        agents.call("start", complete, **SETUP)
    assert raised.value.hung and not agents.alive


def test_a_host_inherits_no_descriptor_but_its_own(host: Callable[..., Host]) -> None:
    secret = os.open("/etc/hostname", os.O_RDONLY)
    os.set_inheritable(secret, True)
    source = TEMPLATE + (
        "\nimport os, sys\ndef is_open(fd):\n    try:\n        return bool(os.fstat(fd))\n"
        "    except OSError:\n        return False\n"
        "kept = {fd for fd in range(3, 250) if is_open(fd)}\n"
        "assert kept == {int(sys.argv[1])}, kept\n"
    )
    try:
        host(source).call("start", complete, **SETUP)
    finally:
        os.close(secret)


@pytest.mark.parametrize(
    "reply",
    [None, [], {}, {"content": "x"}, {"content": 1, "tool_calls": []}, {"content": "", "tool_calls": []}]
    + [{"content": None, "tool_calls": [call]} for call in (None, {}, {"name": "x", "id": "1", "arguments": []})],
)
def test_a_reply_that_is_no_message_is_the_agents_fault(reply: Any) -> None:
    with pytest.raises(AgentError):
        checked_reply(reply)


@pytest.mark.slow
def test_a_host_that_does_not_read_is_ended(host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sends to it would wait forever: no time-out of a turn runs yet."""
    monkeypatch.setattr("autoharness.host.process._LONGEST_SEND_S", 1)  # five are long for a test
    agents = host(timeout_s=30)
    os.kill(agents._process.pid, signal.SIGSTOP)  # it may not stop itself
    more_than_a_socket_holds = SETUP | {"domain_policy": "x" * 4_000_000}
    with pytest.raises(HostDied, match="does not read"):
        agents.call("start", complete, **more_than_a_socket_holds)


def test_a_host_finds_its_surroundings_new(tmp_path: Path) -> None:
    """When its command began, or the vault was made, would tell it how far the night has come."""
    folder = tmp_path / "vault" / "hosts" / "x"
    folder.mkdir(parents=True)
    above = [folder, *list(folder.parents)[:3]]
    for path in above:
        os.utime(path, (1, 1))
    host = LoneHost(AgentFile(TEMPLATE, "m", None), 10, Confinement("sandbox", folder))
    try:
        assert min(min(path.stat().st_mtime, path.stat().st_atime) for path in above) > 1e9
    finally:
        host.close()


@pytest.mark.parametrize("missing", ["_memory_file", "tempfile.mkdtemp"])
def test_a_host_that_cannot_be_started_leaves_nothing_open(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a machine that is short of open files would be short of more of them with each try."""

    def no_more(*arguments: Any, **named: Any) -> Any:
        raise OSError(errno.EMFILE, "Too many open files")

    starter = HostStarter(Confinement("sandbox", tmp_path))
    try:
        before = len(list(Path("/proc/self/fd").iterdir()))
        with monkeypatch.context() as patched:
            patched.setattr(f"autoharness.host.process.{missing}", no_more)
            with pytest.raises(HostFailed, match="Too many open files"):
                Host(starter, AgentFile(TEMPLATE, "m", None), 10)
        assert len(list(Path("/proc/self/fd").iterdir())) == before and not list(tmp_path.iterdir())
    finally:
        starter.close()
