"""`python report.py --serve`: serves the report as a page that follows the loop, on this machine alone by default.

Everything comes from the vault, so either side may be started again: the page goes on by itself. Its address holds a
token of the vault's own: otherwise any process of this machine, a coding agent's too, could read it. A request names
`localhost` or an IP address as its host: another site's page cannot lead a browser here under that site's own name.

A connection that asks for nothing is closed after a short time, and earlier if there are many, the oldest first.
What this does not protect against: a flood of connections keeps this process busy.
"""

import hmac
import html
import ipaddress
import json
import re
import socket
import sys
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from autoharness.core.errors import UserError
from autoharness.core.outcomes import digest
from autoharness.report.page import View, live_part, page
from autoharness.report.reveal import Reveal
from autoharness.report.visible_trials import Trials
from autoharness.report.watch import Now, made_of
from autoharness.vault.store import Store

LOOPBACK = "127.0.0.1"
_ANY = "0.0.0.0"
_LONGEST_SILENCE_S = 10
"""For a client that connects and sends nothing."""
_LONGEST_PAUSE_S = 60
"""For a browser that reads nothing of an answer."""
_MOST_SILENT = 64
_PIECE = 1 << 16
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def _check_address(bind: str) -> None:
    """Raises UserError for what no page can be asked at: names besides localhost, and addresses of many machines."""
    try:
        is_ours = bind == "localhost" or not ipaddress.IPv4Address(bind).is_multicast
    except ValueError:
        is_ours = False
    if not is_ours:
        raise UserError(f"--bind {bind}: expected localhost or an IPv4 address of this machine, or 0.0.0.0 for all")


class Server:
    """Use as a context manager; `serve` answers until it is left or the process is interrupted."""

    def __init__(self, store: Store, port: int, reveal: bool, bind: str = LOOPBACK) -> None:
        """`port`: 0 for any that is free. `reveal`: held-out tasks too. `bind`: the IPv4 address to listen at.

        Raises UserError if the port is taken, or this machine has no such address.
        """
        self._pages = _Pages(store, reveal)
        _check_address(bind)
        token = digest(["report.py --serve", reveal, store.secret()])[:32]
        try:
            self._http = _Threads((bind, port), _handler(self._pages, token))
        except (OSError, OverflowError) as error:
            where = f"--port {port}" if bind == LOOPBACK else f"--bind {bind} --port {port}"
            raise UserError(f"{where} cannot be used ({error}): name another one") from error
        name = LOOPBACK if bind == _ANY else bind
        self.address = f"http://{name}:{self._http.server_address[1]}/{token}/"

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.server_close()

    def serve(self) -> None:
        self._http.serve_forever()

    def stop(self) -> None:
        """From another thread."""
        self._http.shutdown()


class _Threads(ThreadingHTTPServer):
    """A thread for each connection, and few of them for those that have not asked for the page yet."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._silent: dict[socket.socket, None] = {}
        """The oldest first."""
        self._changing = threading.Lock()
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._changing:
            self._silent[request] = None
            while len(self._silent) > _MOST_SILENT:
                oldest = next(iter(self._silent))
                del self._silent[oldest]
                with suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)  # its thread wakes up, and closes it
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.heard(request)
        super().shutdown_request(request)

    def heard(self, request: Any) -> None:
        """It has asked for the page, or is over."""
        with self._changing:
            self._silent.pop(request, None)


class _Pages:
    """What is served. If the vault has changed, it is read again and the page is made anew."""

    def __init__(self, store: Store, reveal: bool) -> None:
        self._store, self._reveal = store, Reveal("report.py --serve", store) if reveal else None
        self._trials = Trials(store)
        self._reading, self._making = threading.Lock(), threading.Lock()
        self._read: tuple[str, View] | None = None
        self._made: tuple[str, str] = ("", "")
        """Each with the name of the state that it shows."""

    def whole(self) -> str:
        with self._making:
            version, view = self._view()
            if self._made[0] != version:
                self._made = (version, page(view, Now.of(self._store), version))
            return self._made[1]

    def now(self) -> Any:
        return {"html": live_part(Now.of(self._store)), "version": made_of(self._store)}

    def task(self, name: str) -> Any:
        return self._view()[1].conversations_of(name)

    def _view(self) -> tuple[str, View]:
        """The vault as it is now. Raises UserError if there is no baseline yet."""
        with self._reading:
            while self._read is None or self._read[0] != made_of(self._store):
                version = made_of(self._store)  # before it is read: what changes meanwhile is read again
                view = View.of(self._store, self._trials, self._reveal is not None)
                if self._reveal and self._reveal.count(view.held_out, view.overview.ledger):
                    continue  # counting has changed it
                self._read = (version, view)
                break
            assert self._read
            return self._read


def _is_plain_host(host: str) -> bool:
    """Whether it is `localhost` or an IP address, with or without a port: no name that can be pointed here."""
    name = re.sub(r":\d+$", "", host) if host.count(":") == 1 or "]:" in host else host
    try:
        return name.lower() == "localhost" or bool(ipaddress.ip_address(name.strip("[]")))
    except ValueError:
        return False


def _handler(pages: _Pages, token: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = _LONGEST_SILENCE_S
        server: _Threads

        def do_GET(self) -> None:
            if not _is_plain_host(self.headers.get("Host", "")):
                self._answer(421, "text/plain", "ask for localhost or an IP address, as report.py --serve printed it")
                return
            given, slash, name = self.path.partition("?")[0].removeprefix("/").partition("/")
            if not hmac.compare_digest(given.encode(), token.encode()):
                self._answer(404, "text/plain", "not here: the address that report.py --serve printed")
                return
            self.server.heard(self.connection)
            try:
                if not slash:
                    self._answer(404, "text/plain", "the address ends with a slash")
                elif not name:
                    self._answer(200, "text/html", pages.whole())
                elif name == "now":
                    self._answer(200, "application/json", json.dumps(pages.now()))
                elif name.startswith("task/"):
                    self._answer(200, "application/json", json.dumps(pages.task(name.removeprefix("task/"))))
                else:
                    self._answer(404, "text/plain", "no such page")
            except (UserError, FileNotFoundError) as error:  # no baseline yet, or no vault: it may come any moment
                again = '<meta http-equiv="refresh" content="2">'
                self._answer(503, "text/html", f"<!doctype html>{again}<p>{html.escape(str(error))}")

        def _answer(self, status: int, kind: str, text: str) -> None:
            self.connection.settimeout(_LONGEST_PAUSE_S)
            content = text.encode(errors="backslashreplace")
            self.send_response(status)
            for name, value in {**_HEADERS, "Content-Type": f"{kind}; charset=utf-8"}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            for start in range(0, len(content), _PIECE):  # a large page over a slow line takes its time
                self.wfile.write(content[start : start + _PIECE])

        def log_message(self, format: str, *arguments: object) -> None:
            pass  # a line every second

        def handle(self) -> None:
            try:
                super().handle()
            except (BrokenPipeError, ConnectionResetError, TimeoutError):  # the browser has gone
                pass
            except Exception as error:
                print(f"[report] {error!r:.300}", file=sys.stderr)

    return Handler
