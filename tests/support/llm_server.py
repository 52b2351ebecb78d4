"""A real OpenAI-compatible server on loopback, whose answers are written by the test.

with LLMServer(lambda request: assistant("Hello")) as server:
    ...  # point a client at server.url, then look at server.requests
"""

import contextlib
import json
import socket
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Json = dict[str, Any]


@dataclass(frozen=True)
class Fault:
    """An answer that is no completion. Without a body, `truncate` cuts a valid completion."""

    status: int = 200
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    hang_s: float = 0
    """Waited before anything is sent; when the server closes meanwhile, nothing is sent."""
    drip_s: float = 0
    """Waited after every byte of the body, while the server is not closing."""
    truncate: bool = False
    """Content-Length announces the whole body, half of it is sent, the connection closes."""


@dataclass(frozen=True)
class Received:
    body: Json
    authorization: str | None


Reply = Callable[[Json], Json | Fault]


def tool_call(name: str, arguments: Json | str, id: str | None = None) -> Json:
    """`arguments` given as a string are sent as they are, valid JSON or not."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    call_id = id or f"call_{uuid.uuid4().hex[:12]}"
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": text}}


def assistant(content: str | None = None, tool_calls: list[Json] | None = None) -> Json:
    return {"content": content, "tool_calls": tool_calls or []}


class LLMServer:
    """Serves `reply` on a free port, each connection on its own thread: `reply` must be thread-safe.

    What `reply` raises is printed with its traceback and answered with status 400: clients do not retry that.
    """

    def __init__(self, reply: Reply, remember: bool = True) -> None:
        """`remember`: keep the requests; a measurement of thousands does not."""
        self.reply = reply
        self.requests: list[Received] = []  # only ever appended to, so safe to read at any time
        self.remember = remember
        self.asked = 0
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def received(self, one: Received) -> None:
        self.asked += 1  # a measure, not a promise: threads may race
        if self.remember:
            self.requests.append(one)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._server.hang_up()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, owner: LLMServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.owner = owner
        self.closing = threading.Event()
        self._connections: set[socket.socket] = set()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        # The threads of kept-alive connections would go on serving, as if nothing had closed.
        self.closing.set()
        for connection in self._connections.copy():
            with contextlib.suppress(OSError):  # the client was faster
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # a client that gave up is no news
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body leave in one packet

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/v1/chat/completions":
            self._send(self._answer(raw))
        else:
            self._send(Fault(404, _error(f"no such path: {self.path}")))

    def _answer(self, raw: bytes) -> Fault:
        """The answer to send: even a completion is a Fault here, with nothing wrong."""
        try:
            request = json.loads(raw)
            self.server.owner.received(Received(request, self.headers.get("Authorization")))
            answer = self.server.owner.reply(request)
        except Exception as error:
            traceback.print_exc()
            return Fault(400, _error(f"reply raised {error!r}"))
        if not isinstance(answer, Fault):
            return Fault(body=_completion(request, answer))
        if answer.truncate and not answer.body:
            return replace(answer, body=_completion(request, assistant("This will be cut short.")))
        return answer

    def _send(self, answer: Fault) -> None:
        if answer.hang_s and self.server.closing.wait(answer.hang_s):
            self.close_connection = True
            return
        payload = answer.body.encode()
        self.send_response(answer.status)
        for name, value in {"Content-Type": "application/json", **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        for byte in payload if answer.drip_s else b"":
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            if self.server.closing.wait(answer.drip_s):
                return
        if not answer.drip_s:
            self.wfile.write(payload[: len(payload) // 2] if answer.truncate else payload)
        self.close_connection = self.close_connection or answer.truncate

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _error(message: str) -> str:
    return json.dumps({"error": {"message": message, "type": "invalid_request_error"}})


def _completion(request: Json, message: Json) -> str:
    """The chat.completion around an assistant message; four characters count as a token."""
    calls = message.get("tool_calls")
    body = {"role": "assistant", "content": message.get("content")} | ({"tool_calls": calls} if calls else {})
    prompt, answer = len(json.dumps(request)) // 4 + 1, len(json.dumps(body)) // 4 + 1
    return json.dumps(
        {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": request.get("model"),
            "choices": [{"index": 0, "message": body, "finish_reason": "tool_calls" if calls else "stop"}],
            "usage": {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer},
        }
    )
