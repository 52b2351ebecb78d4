"""The agent host from the worker's side: its process, its time, its end."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import TEMPLATE

from autoharness.errors import AgentError, HostDied
from autoharness.host import AgentFile, Confinement, Host, checked_reply

USER_SAYS = {"role": "user", "content": "Hello"}
SETUP: dict[str, Any] = {"tools": [], "domain_policy": "Be kind.", "llm": "m", "llm_args": {}, "history": []}


def complete(request: dict[str, Any]) -> dict[str, Any]:
    words = request["messages"][-1]["content"]
    return {"choices": [{"message": {"role": "assistant", "content": f"You said: {words}"}}]}


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Callable[..., Host]]:
    opened: list[Host] = []

    def start(source: str = TEMPLATE, timeout_s: float = 10, mode: str = "sandbox") -> Host:
        opened.append(Host(AgentFile(source, "m", None), timeout_s, Confinement(mode, tmp_path)))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


def test_a_conversation_through_the_pipe(host: Callable[..., Host]) -> None:
    agents = host()
    agents.call("one", "start", complete, **SETUP)
    agents.call("two", "start", complete, **SETUP)
    assert agents.call("one", "next", complete, message=USER_SAYS) == {"content": "You said: Hello", "tool_calls": []}
    assert (
        agents.call("two", "next", complete, message={"role": "user", "content": "Hi"})["content"] == "You said: Hi"
    )


def test_what_is_over_is_over(host: Callable[..., Host]) -> None:
    """A simulation that was forgotten can neither answer nor spend."""
    agents = host()
    agents.call("one", "start", complete, **SETUP)
    agents.forget("one")
    with pytest.raises(AgentError):
        agents.call("one", "next", complete, message=USER_SAYS)


def test_closing_ends_the_process_and_its_children_and_removes_its_files(host: Callable[..., Host]) -> None:
    source = (
        TEMPLATE
        + "\nimport subprocess\nchild = subprocess.Popen(['/bin/sleep', '60'])\nprint(child.pid, flush=True)\n"
    )
    agents = host(source, mode="process")  # the sandbox lets it start none
    agents.call("one", "start", complete, **SETUP)
    deadline = time.monotonic() + 5
    while not agents._output.strip() and time.monotonic() < deadline:
        time.sleep(0.01)
    grandchild = int(agents._output)
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
        agents.call("one", "start", complete, **SETUP)
    assert not raised.value.hung


def test_a_host_without_a_file_to_open_is_dead_so_that_its_simulations_run_again_elsewhere(
    host: Callable[..., Host],
) -> None:
    """Or one of them, or many at once, would make all the others fail."""
    agents = host("import os\nkept = []\nwhile True:\n    kept.append(open(os.devnull))")
    with pytest.raises(HostDied, match=r"out of files: .*Too many open files"):
        agents.call("one", "start", complete, **SETUP)


def test_a_hang_is_a_death_that_says_so(host: Callable[..., Host]) -> None:
    agents = host("import time\ntime.sleep(60)", timeout_s=0.3)
    with pytest.raises(HostDied, match="agent_timeout_s") as raised:
        agents.call("one", "start", complete, **SETUP)
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
        host(source).call("one", "start", complete, **SETUP)
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


def test_a_host_that_does_not_read_is_ended(host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sends to it would wait forever: no time-out of a turn runs yet."""
    monkeypatch.setattr("autoharness.host._LONGEST_SEND_S", 1)  # five are long for a test
    agents = host("import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)", timeout_s=30)

    def start_and_stop() -> None:
        with suppress(AgentError):  # a file without an agent is one too, when it goes on
            agents.call("one", "start", complete, **SETUP)

    threading.Thread(target=start_and_stop).start()
    more_than_a_socket_holds = SETUP | {"domain_policy": "x" * 4_000_000}
    with pytest.raises(HostDied, match="does not read"):
        agents.call("two", "start", complete, **more_than_a_socket_holds)
