"""An OpenAI-compatible HTTP server on 127.0.0.1, for agents whose framework brings an OpenAI client. Child side.

    POST /v1/chat/completions      Authorization: Bearer TOKEN

It runs in the agent host itself and passes each request on to the gateway through the host's channel, so it can do no
more than `generate` can. The token keeps other processes of this machine out.
"""

import hmac
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from autoharness import agent_api

_LARGEST_BODY = 32 * 1024 * 1024

Complete = Callable[[dict[str, Any]], dict[str, Any]]
"""Answers a request. Raises agent_api.RequestRefused or SimulationAborted."""


class Server(ThreadingHTTPServer):
    """Listens as soon as it is made; answers after `serve` was called."""

    complete: Complete

    def __init__(self, token: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.token = token
        self.port = int(self.server_address[1])
        self.base_url = f"http://127.0.0.1:{self.port}/v1"

    def serve(self, complete: Complete) -> None:
        self.complete = complete
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        try:
            body = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), _LARGEST_BODY))
            if hmac.compare_digest(token.encode(), self.server.token.encode()):
                self._send(*agent_api._answer_openai(self.path, body, self.server.complete))
            else:
                self._send(*agent_api._openai_error(401, "the key is not the one of agent_api.openai_endpoint()"))
        except ValueError as error:
            self._send(*agent_api._openai_error(400, f"no request: {error}"))
        except agent_api.SimulationAborted as error:
            self._send(*agent_api._openai_error(403, str(error)))  # clients do not try that again

    def log_message(self, *_: object) -> None:
        pass

    def _send(self, status: int, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
