"""The live page: it follows the vault, survives restarts of either side, and opens to nobody without its address."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from checkout import Checkout

from autoharness.core.errors import UserError
from autoharness.core.outcomes import Outcome, Status, Trial, slug
from autoharness.engine.live_runs import Live
from autoharness.engine.progress import Progress
from autoharness.loop.status import LOOP_LOCK, Phase, note_limits, note_phase
from autoharness.report.page import View
from autoharness.report.server import Server
from autoharness.vault.iterations import Iterations
from autoharness.vault.ledger import Ledger
from autoharness.vault.store import Store
from perf.report_vault import HELD_OUT, Night, make_night


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_night(tmp_path / "vault", Night(3, ["1", "2", "3"]))


@contextmanager
def _serving(store: Store, port: int = 0, reveal: bool = False) -> Iterator[Server]:
    with Server(store, port, reveal) as server:
        thread = threading.Thread(target=server.serve)
        thread.start()
        try:
            yield server
        finally:
            server.stop()
            thread.join()


def _get(address: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(address) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def _port(server: Server) -> int:
    return int(server.address.split(":")[2].split("/")[0])


@pytest.mark.slow
@pytest.mark.parametrize("path", ["", "now", "task/x", "../", "%2e%2e/trials"])
def test_without_its_token_there_is_nothing(path: str, store: Store) -> None:
    with _serving(store) as server:
        root = server.address.rsplit("/", 2)[0]
        for wrong in ("", "0" * 32, "\N{SNOWMAN}".encode().hex()):
            status, text = _get(f"{root}/{wrong}/{path}")
            assert (status, text) == (404, "not here: the address that report.py --serve printed")


def test_it_listens_on_this_machine_alone(store: Store) -> None:
    with _serving(store) as server:
        assert server.address.startswith("http://127.0.0.1:")


@pytest.mark.slow
def test_it_serves_the_page_what_is_going_on_and_conversations(store: Store) -> None:
    note_phase(store, 4, Phase.EDIT)
    note_limits(store, {"max_usd": 20.0, "max_hours": None})
    with _serving(store) as server, store.lock(LOOP_LOCK):
        status, html = _get(server.address)
        assert status == 200 and 'data-live="yes"' in html
        now = json.loads(_get(f"{server.address}now")[1])
        assert "iteration 4, edit since" in now["html"]
        assert "$2.4000 of at most $20 (coding agent $1.50" in now["html"]
        trials = json.loads(_get(f"{server.address}task/{slug('1')}")[1])
        assert trials[0]["version"] == "the baseline"
        assert "lamp" in trials[0]["turns"][1]["text"]
        assert json.loads(_get(f"{server.address}task/none")[1]) == []
        assert _get(f"{server.address}trials")[0] == 404


@pytest.mark.slow
def test_held_out_conversations_are_not_served_until_they_are_revealed(store: Store) -> None:
    hidden = slug(HELD_OUT[0])
    with _serving(store) as server:
        assert json.loads(_get(f"{server.address}task/{hidden}")[1]) == []
        assert HELD_OUT[0] not in _get(server.address)[1]
    with _serving(store, reveal=True) as server:
        assert "hush" in _get(f"{server.address}task/{hidden}")[1]
        assert HELD_OUT[0] in _get(server.address)[1]


def test_its_address_stays_the_same(store: Store) -> None:
    with _serving(store) as server:
        address, port = server.address, _port(server)
    with _serving(store, port) as again:
        assert again.address == address


def test_a_port_that_is_taken_is_one_line(store: Store) -> None:
    with _serving(store) as server, pytest.raises(UserError, match=r"--port .* cannot be used"):
        Server(store, _port(server), reveal=False)
    with pytest.raises(UserError, match="--port 70000 cannot be used"):
        Server(store, 70000, reveal=False)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *(
            ("localhost:8642", 200),
            ("LOCALHOST", 200),
            ("127.0.0.1:9", 200),
            ("192.168.0.7", 200),
            ("[::1]:8642", 200),
        ),
        *(("::1", 200), ("evil.example", 421), ("evil.example:8642", 421), ("127.0.0.1.evil.example", 421)),
        *(("localhost.evil.example", 421), ("", 421), ("127.0.0.1:8642@evil.example", 421), ("1:2:3", 421)),
    ],
)
def test_only_a_host_that_nobody_can_point_here_is_answered(store: Store, host: str, status: int) -> None:
    """Otherwise a page of another site could read this one by making its own name lead here."""
    with _serving(store) as server:
        url = urlsplit(server.address)
        connection = http.client.HTTPConnection(url.hostname or "", url.port)
        connection.putrequest("GET", f"{url.path}now", skip_host=True)
        if host:
            connection.putheader("Host", host)
        connection.endheaders()
        assert connection.getresponse().status == status
        connection.close()


def test_it_listens_where_it_is_told_to_and_the_token_stays_the_guard(store: Store) -> None:
    with pytest.raises(UserError, match=r"--bind 192\.0\.2\.1 --port 0 cannot be used"):
        Server(store, 0, reveal=False, bind="192.0.2.1")
    with Server(store, 0, reveal=False, bind="0.0.0.0") as server:
        threading.Thread(target=server.serve).start()
        assert server.address.startswith("http://127.0.0.1:")
        assert _get(server.address)[0] == 200
        assert _get(server.address.rsplit("/", 2)[0] + "/0123/")[0] == 404
        server.stop()


def test_before_the_baseline_it_waits(tmp_path: Path) -> None:
    store = Store(tmp_path / "vault")
    with _serving(store) as server:
        status, text = _get(server.address)
        assert status == 503 and "prepare.py" in text and "refresh" in text
        make_night(store.vault, Night(1, ["1"]))
        assert _get(server.address)[0] == 200


@pytest.mark.slow
def test_the_page_follows_the_loop_and_both_sides_may_start_again(browser: Any, store: Store) -> None:
    """What a person has opened and typed stays while the page goes on."""
    from playwright.sync_api import expect

    context = browser.new_context()
    context.set_default_timeout(60_000)
    tab = context.new_page()
    with _serving(store) as server:
        port, address = _port(server), server.address
        tab.goto(address)
        tab.locator("#attempt-1 summary").click()
        tab.fill("#find", "2")
        tab.locator("h1").click()
        assert tab.locator("#map thead th").count() == 5
        progress = Progress(shown=False)
        progress.begin("mock", 2, [], [])
        with Live(store.new_run(), progress, "retail, gpt-5.4", {"held"}, at_most=False) as live:
            live.begun(Trial("1", 0, 0))
            live.begun(Trial("held", 0, 0))
            live.limited("gpt-5.4", 2.0)
            expect(tab.locator("#live")).to_contain_text("In flight: 2, 1 of them held")
            assert "gpt-5.4: met 1 times" in tab.locator("#rate-limits").inner_text()
            progress.add(Outcome(Trial("1", 0, 0), Status.PASSED, 1.0))
            live.ended(Trial("1", 0, 0))
            expect(tab.locator("progress")).to_have_attribute("value", "1")
        expect(tab.locator("#live")).to_contain_text("No simulation runs")
    tab.wait_for_selector("#lost")
    _one_more_iteration(store)
    with _serving(store, port):
        expect(tab.locator("#map thead th")).to_have_count(6)
        assert tab.locator("#lost").count() == 0
        assert "4 finished" in tab.locator("#iterations-count").inner_text()
        assert tab.locator("#attempt-1[open]").count() == 1
        assert tab.input_value("#find") == "2" and tab.text_content("#shown") == "1 tasks"
        tab.locator("#map tbody tr:not([hidden]) button").click()
        tab.wait_for_selector("dialog[open] .turn")
        assert "lamp" in tab.locator(".trial").first.inner_text()
    context.close()


def _one_more_iteration(store: Store) -> None:
    iterations = Iterations(store)
    last = iterations.all(Ledger(store).measure)[-1]
    fields = vars(last) | {"number": 4, "gate": -1, "end": "refused", "started": "2026-11-26T02:00:00+00:00"}
    iterations.save(type(last)(**fields))


@pytest.mark.slow
def test_the_command_serves_until_ctrl_c(prepared: Checkout) -> None:
    command = [sys.executable, "report.py", "--serve", "--port", "18642"]
    environment = os.environ | {"AUTOHARNESS_VAULT": str(prepared.vault), "PYTHONPATH": str(Path.cwd())}
    with subprocess.Popen(
        command,
        cwd=prepared.root,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a shell may have it ignored
    ) as process:
        assert process.stdout
        line = process.stdout.readline()
        assert line.startswith("serving: http://127.0.0.1:18642/")
        assert _get(line.split()[1])[0] == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130


@pytest.mark.slow
def test_what_comes_to_be_shown_while_it_serves_is_counted_too(store: Store) -> None:
    """Another measure in the same vault, after the start; and again only where there is more."""
    with _serving(store, reveal=True) as server:
        assert store.reveals("retail") == 0
        _get(server.address)
        _get(server.address)
        assert store.reveals("retail") == 1
        ledger = Ledger(store)
        settings = ledger.versions[0].row.experiment | {"domain": "airline"}
        row = replace(ledger.versions[0].row, measure="another", experiment=settings, number=-1)
        Ledger(store, "another").append(row)
        assert 'id="revealed"' in _get(server.address)[1]
        assert store.reveals("airline") == 1


def test_the_revealed_page_has_an_address_of_its_own(store: Store) -> None:
    with _serving(store) as plain, _serving(store, reveal=True) as revealed:
        assert plain.address.split("/")[3] != revealed.address.split("/")[3]
        assert _get(f"{plain.address.rsplit('/', 2)[0]}/{revealed.address.split('/')[3]}/")[0] == 404


@pytest.mark.slow
def test_a_vault_that_goes_and_comes_again_is_shown_again(browser: Any, store: Store) -> None:
    from playwright.sync_api import expect

    ledger = store.folder / "ledger.jsonl"
    context = browser.new_context()
    context.set_default_timeout(60_000)
    tab = context.new_page()
    with _serving(store) as server:
        tab.goto(server.address)
        ledger.rename(ledger.with_suffix(".away"))
        (store.folder / "ledger.head.json").rename(store.folder / "head.away")
        tab.wait_for_selector("#lost")
        (store.folder / "head.away").rename(store.folder / "ledger.head.json")
        ledger.with_suffix(".away").rename(ledger)
        _one_more_iteration(store)
        expect(tab.locator("#map thead th")).to_have_count(6)
        assert tab.locator("header h1").count() == 1
        expect(tab.locator("#lost")).to_have_count(0)
    context.close()


@pytest.mark.slow
@pytest.mark.parametrize("reveal", [False, True])
def test_a_step_of_the_loop_while_the_vault_is_read_is_not_missed(
    reveal: bool, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reason to patch: the step falls into the reading."""
    reads = View.of

    def meanwhile(*arguments: Any) -> View:
        view = reads(*arguments)
        if Iterations(store).all()[-1].number == 3:
            _one_more_iteration(store)
        return view

    monkeypatch.setattr(View, "of", meanwhile)
    with _serving(store, reveal=reveal) as server:
        _get(server.address)
        html = _get(server.address)[1]
        assert 'id="attempt-4"' in html
        assert json.loads(_get(f"{server.address}now")[1])["version"] in html


def _connected(port: int, *said: bytes) -> list[socket.socket]:
    """Three hundred who connect, and say no more than this."""
    sockets = []
    for number in range(300):
        sockets.append(socket.create_connection(("127.0.0.1", port)))
        if said:
            sockets[-1].sendall(said[number % len(said)])
    return sockets


@pytest.mark.slow
@pytest.mark.parametrize(
    "said",
    [
        (),
        (b"G",),
        (b"GET / HTTP/1.0\r\n",),
        (b"GET /0/ HTTP/1.0\r\nX: ", b"\0", b"POST / HTTP/1.1\r\nContent-Length: 9"),
    ],
    ids=["nothing", "a letter", "half a request", "this and that"],
)
def test_who_connects_and_does_not_ask_keeps_nobody_from_the_page(said: tuple[bytes, ...], store: Store) -> None:
    with _serving(store) as server:
        _get(server.address)
        before = threading.active_count()
        silent = _connected(_port(server), *said)
        assert _get(server.address)[0] == 200
        until = time.monotonic() + 10
        while threading.active_count() - before > 70 and time.monotonic() < until:
            time.sleep(0.05)  # those that were sent away have threads that are about to end
        assert threading.active_count() - before <= 70
        silent += _connected(_port(server), *said)
        assert _get(f"{server.address}now")[0] == 200
        for one in silent:
            one.close()


@pytest.mark.slow
def test_who_reads_slowly_gets_the_whole_page_while_others_are_sent_away(store: Store) -> None:
    with _serving(store) as server, socket.create_connection(("127.0.0.1", _port(server))) as slow:
        path = server.address.removeprefix(f"http://127.0.0.1:{_port(server)}")
        slow.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        answer = slow.recv(100)
        silent = _connected(_port(server))
        while part := slow.recv(4096):
            answer += part
        assert answer.startswith(b"HTTP/1.0 200") and answer.rstrip().endswith(b"</html>")
        for one in silent:
            one.close()
