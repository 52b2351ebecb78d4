"""The base URL refuses what is no chat completion request, and any caller without its token."""

import json
from http.client import HTTPConnection
from typing import Any

import pytest

from autoharness import agent_api
from autoharness.host.openai_server import Server

REQUEST = {"messages": [{"role": "user", "content": "Hi"}]}
OVER = {"messages": []}


def complete(request: dict[str, Any]) -> dict[str, Any]:
    if request == OVER:
        raise agent_api.SimulationAborted("no LLM")
    return {"choices": [], "asked": request}


@pytest.fixture(scope="module")
def server() -> Server:
    made = Server("one")
    made.serve(complete)
    return made


def post(server: Server, body: str, token: str = "one", path: str = "/v1/chat/completions") -> tuple[int, Any]:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request("POST", path, body, {"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_passes_a_request_on(server: Server) -> None:
    status, answer = post(server, json.dumps(REQUEST | {"stream": False}))
    assert (status, answer["object"], answer["asked"]) == (200, "chat.completion", REQUEST)


@pytest.mark.parametrize(
    ("body", "how", "status", "words"),
    [
        ("{", {}, 400, "no request: "),
        ("[]", {}, 400, "no request: not an object"),
        (json.dumps(REQUEST | {"stream": True}), {}, 400, "the gateway does not stream"),
        (json.dumps(REQUEST), {"token": "another"}, 401, "the key is not the one of"),
        (json.dumps(OVER), {}, 403, "no LLM"),
        (json.dumps(REQUEST), {"path": "/v1/models"}, 404, "there is only /v1/chat/completions"),
    ],
    ids=["no JSON", "a list", "a stream", "a stray caller", "aborted", "another path"],
)
def test_refuses_anything_else_in_a_line(
    server: Server, body: str, how: dict[str, str], status: int, words: str
) -> None:
    found, answer = post(server, body, **how)
    assert found == status and words in answer["error"]["message"]
