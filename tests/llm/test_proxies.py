"""Proxies between a worker and its models' servers: real processes, real sockets."""

import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from llm_server import LLMServer, assistant

from autoharness.core.endpoints import check_proxies, proxy_of, sparing_loopback
from autoharness.core.errors import UserError

CALL = """
import sys
from autoharness.core.endpoints import Endpoint
from autoharness.llm.providers import LiteLLM, ProviderFault
ask = LiteLLM("m", 20, Endpoint(sys.argv[1]))
for _ in range(2):
    try:
        print(ask({"messages": [{"role": "user", "content": "Hello"}]})["choices"][0]["message"]["content"])
    except ProviderFault as fault:
        print(fault.status_code, fault)
"""
DEAD = "http://me:secret@127.0.0.1:9"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def _asked(url: str, environment: dict[str, str]) -> str:
    """What a process of its own, with a worker's environment, gets from the server in two calls."""
    spared = subprocess.run(
        [sys.executable, "-c", CALL, url],
        env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Traceback" not in spared.stderr
    return spared.stdout


@dataclass
class Proxy:
    """Speaks SOCKS5 without a password, or HTTP; leads everywhere to one server."""

    target: int
    asked: list[str] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[int]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            threading.Thread(target=self._serve, args=(listener,), daemon=True).start()
            yield listener.getsockname()[1]

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        first = client.recv(65536)
        with socket.create_connection(("127.0.0.1", self.target)) as server, client:
            if first[:1] == b"\x05":
                client.sendall(b"\x05\x00")
                wanted = client.recv(512)
                self.asked.append(wanted[5 : 5 + wanted[4]].decode())
                client.sendall(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00")
            else:
                server.sendall(self._with_a_path(first))
            while True:
                ready, _, _ = select.select([client, server], [], [], 20)
                for one in ready:
                    said = one.recv(65536)
                    if not said:
                        return
                    (server if one is client else client).sendall(self._with_a_path(said))
                if not ready:
                    return

    def _with_a_path(self, said: bytes) -> bytes:
        """A request to a proxy has the whole address in its first line."""
        if not said.startswith(b"POST http://"):
            return said
        method, address, rest = said.split(b" ", 2)
        self.asked.append(address.decode())
        return method + b" /" + address.split(b"/", 3)[3] + b" " + rest


@pytest.fixture
def server() -> Iterator[LLMServer]:
    with LLMServer(lambda request: assistant("Good day")) as one:
        yield one


@pytest.mark.slow
def test_this_machines_own_servers_are_asked_without_a_proxy(server: LLMServer) -> None:
    environment = {"http_proxy": DEAD, "ALL_PROXY": "socks5://127.0.0.1:9"}
    assert _asked(server.url, environment | sparing_loopback([server.url])) == "Good day\n" * 2


@pytest.mark.slow
def test_every_address_of_this_machine_is_its_own(server: LLMServer) -> None:
    url = server.url.replace("127.0.0.1", "127.0.0.2")
    with socket.create_server(("127.0.0.2", 0)):
        said = _asked(url, {"HTTP_PROXY": DEAD} | sparing_loopback([url]))
    assert "500" in said and "HTTP_PROXY" not in said  # nothing listens there, and no proxy was asked
    assert sparing_loopback([url])["NO_PROXY"] == "localhost,127.0.0.1,::1,127.0.0.2"


def test_what_the_user_excepts_stays_excepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "gpu.example,127.0.0.1")
    spared = sparing_loopback(["http://gpu.example/v1"])
    assert spared == dict.fromkeys(("NO_PROXY", "no_proxy"), "gpu.example,127.0.0.1,localhost,::1")
    monkeypatch.setenv("HTTP_PROXY", DEAD)
    assert not proxy_of("http://gpu.example/v1")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["socks5h", "http"])
def test_a_proxy_leads_to_a_server_elsewhere(server: LLMServer, scheme: str) -> None:
    proxy = Proxy(int(server.url.split(":")[2].split("/")[0]))
    with proxy.running() as port:
        said = _asked("http://model.example/v1", {"ALL_PROXY": f"{scheme}://127.0.0.1:{port}"} | sparing_loopback([]))
    assert said == "Good day\n" * 2
    assert any("model.example" in asked for asked in proxy.asked)


@pytest.mark.slow
def test_a_connection_that_fails_behind_a_proxy_names_it() -> None:
    said = _asked("http://model.example/v1", {"HTTP_PROXY": "socks5://me:secret@127.0.0.1:9"})
    assert said.count("(through HTTP_PROXY socks5://127.0.0.1:9)") == 2
    assert "secret" not in said


@pytest.mark.parametrize("proxy", ["ftp://p:1", "socks4://p:1", "http://[bad", "http://p:99999", "http://", "://"])
def test_a_proxy_that_cannot_be_used_is_one_line(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(UserError, match=r"^ALL_PROXY .*must be such as http://proxy:3128") as raised:
        check_proxies()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "proxy", ["p:3128", "http://me:secret@p", "https://p:3128", "socks5h://p:1080", "http://[::1]:9"]
)
def test_a_proxy_that_can_be_used_is_taken(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    check_proxies()
    assert proxy_of("https://model.example/v1").startswith("HTTPS_PROXY ")
    assert "secret" not in proxy_of("https://model.example/v1")
    assert not proxy_of("http://model.example/v1") and not proxy_of("https://localhost/v1")


def test_a_whole_run_behind_a_dead_proxy_reaches_a_server_here(tmp_path: Path) -> None:
    """The worker's environment, not only its client."""
    from autoharness.core.settings import Experiment
    from autoharness.engine import forkserver_process

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
        process = forkserver_process.ForkServerProcess(Experiment(), tmp_path / "log", simulates=False)
        said = Path(f"/proc/{process._process.pid}/environ")
        while not (environment := said.read_bytes()):  # the kernel has not begun the program yet
            pass
        process.close()
    assert b"NO_PROXY=localhost,127.0.0.1,::1" in environment
