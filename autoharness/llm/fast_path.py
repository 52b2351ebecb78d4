"""A fast path to OpenAI-compatible endpoints: sends and reads what litellm does, without litellm's overhead.

litellm and the OpenAI client take most of a call's processor time, to check messages and tools that are fine. So
litellm makes the first call of each kind (the same model, the same arguments except messages and seed, messages of
the same shapes), and our HTTP client records it. If litellm sent messages and seed as they were given, further calls
of that kind are made from what it sent, and their answers are read as its own functions read them.

litellm stays the reference. Anything but a plain answer (another status, a body that does not parse, a broken
connection) is handed to it as if its own client had got it, so that errors are read in one place. So is one answer in
a hundred, with nothing sent again: if a kind's request or answer comes out differently, litellm makes its calls from
then on.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from autoharness.core.outcomes import exact_digest
from autoharness.llm.completion import NoCompletion, regular

Json = dict[str, Any]
Whole = Callable[[Json], Json]
"""Answers a request through litellm. Raises what litellm raises."""
Read = Callable[[Json], Json]
"""Reads the body of a completion as litellm does. Raises anything if that is not a completion."""

_MOST_KINDS = 500
_CHECKED_EVERY = 100
_SUFFIX = "/chat/completions"
_NOT_LET_IN = (401, 403)
_OF_ONE_CALL = ("messages", "seed")
_CHANGES_ROLES = {
    "roles must alternate user/assistant": "roles must alternate: user/assistant",
    "roles should be alternating": "roles should be, in turn, alternating",
    "have role `user`": "have the role `user`",
}
"""Parts of errors at which litellm puts empty messages into the conversation, and other words for them."""


@dataclass
class Exchange:
    """One HTTP request and its result."""

    request: httpx.Request | None = None
    response: httpx.Response | None = None
    error: Exception | None = None


class Client(httpx.Client):
    """The HTTP client of litellm's OpenAI clients: it can record an exchange, and replay one.

    What servers answer is given on as they should have answered: litellm breaks on some bodies.
    """

    def __init__(self, **settings: Any) -> None:
        unlimited = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        super().__init__(follow_redirects=True, limits=unlimited, **settings)  # one for each conversation in flight
        self._thread = threading.local()

    @contextmanager
    def recorded(self) -> Iterator[Exchange]:
        """The last request that this thread sends in the block, and its response."""
        with self._exchange(Exchange(), replay=False) as exchange:
            yield exchange

    @contextmanager
    def replayed(self, came: Exchange) -> Iterator[Exchange]:
        """Nothing is sent in the block: a request gets the result of another one. Notes the request."""
        with self._exchange(Exchange(None, came.response, came.error), replay=True) as exchange:
            yield exchange

    @contextmanager
    def _exchange(self, exchange: Exchange, replay: bool) -> Iterator[Exchange]:
        self._thread.exchange, self._thread.replay = exchange, replay
        try:
            yield exchange
        finally:
            self._thread.exchange = None

    def send(self, request: httpx.Request, **arguments: Any) -> httpx.Response:
        self._thread.last = self._response(request, arguments)
        return self.last

    @property
    def last(self) -> httpx.Response:
        """The last response that this thread got."""
        response: httpx.Response = self._thread.last
        return response

    def _response(self, request: httpx.Request, arguments: Json) -> httpx.Response:
        exchange: Exchange | None = getattr(self._thread, "exchange", None)
        if exchange is None:
            return _regular(super().send(request, **arguments))
        exchange.request = request
        if self._thread.replay:
            if exchange.error:
                raise exchange.error
            assert exchange.response is not None
            return _again(exchange.response, request)
        exchange.response = _regular(super().send(request, **arguments))
        return exchange.response


def _again(came: httpx.Response, request: httpx.Request) -> httpx.Response:
    return httpx.Response(came.status_code, headers=_kept_headers(came), content=came.content, request=request)


def _kept_headers(came: httpx.Response) -> list[tuple[str, str]]:
    encodings = ("content-encoding", "content-length", "transfer-encoding")  # the content is decoded already
    return [(name, value) for name, value in came.headers.items() if name not in encodings]


def _regular(came: httpx.Response) -> httpx.Response:
    """The response with a regular completion, or with the status code of the failure that its body tells."""
    if not (came.is_closed and came.request.url.path.endswith(_SUFFIX)):
        return came
    if not came.is_success:
        return _in_other_words(came)
    status_code, body = came.status_code, _parsed(came.content)
    try:
        completion = regular(body if body is not None else came.text)
    except NoCompletion as fault:
        status_code, completion = (
            fault.status_code,
            {"error": {"message": str(fault), "code": str(fault.status_code)}},
        )
    if completion == body:
        return came
    response = httpx.Response(status_code, headers=_kept_headers(came), content=json.dumps(completion))
    response.headers["content-type"], response.request = "application/json", came.request
    return response


def _in_other_words(came: httpx.Response) -> httpx.Response:
    """The error, in words by which litellm does not change the conversation, and ask again, without a word."""
    text = came.text
    for words, others in _CHANGES_ROLES.items():
        text = text.replace(words, others)
    if text == came.text:
        return came
    response = httpx.Response(came.status_code, headers=_kept_headers(came), text=text, request=came.request)
    response.headers["content-type"] = came.headers.get("content-type", "application/json")
    return response


@dataclass
class _Kind:
    """How litellm sends requests of one kind."""

    url: httpx.URL
    headers: dict[str, str]
    extensions: Any
    arguments: Json
    """The fields of the body, except those of one call."""
    shapes: set[str] = field(default_factory=set)
    """Shapes of messages that litellm sent as they were given."""
    calls: int = 0


_UNKNOWN = _Kind(httpx.URL(), {}, {}, {})


class FastPath:
    """The fast path for one model. May be called from many threads."""

    def __init__(self, client: Client, whole: Whole, read: Read) -> None:
        self._client = client
        self._whole = whole
        self._read = read
        self._kinds: dict[str, _Kind | None] = {}
        """By kind; None: only litellm makes its calls from now on."""

    def __call__(self, request: Json) -> Json:
        """Raises what litellm raises."""
        messages = _without_empty(request["messages"])
        (own,) = _without_empty([{"messages": messages, "seed": request.get("seed")}])
        name = exact_digest([_of_all(request), _shape(own.get("seed"))])
        shapes = set(map(_shape, messages))
        kind = self._kinds.get(name)
        if kind is None or not shapes <= kind.shapes:
            return self._learn(name, request, own, shapes)
        came = self._send(kind, own)
        if came.response is not None and came.response.status_code in _NOT_LET_IN:
            self._kinds.pop(name, None)  # the key may have been renewed since
            return self._learn(name, request, own, shapes)
        answer = self._answer(came)
        kind.calls += 1
        if answer is None or kind.calls % _CHECKED_EVERY == 0:
            return self._check(name, request, came, answer)
        return answer

    def _learn(self, name: str, request: Json, own: Json, shapes: set[str]) -> Json:
        known = self._kinds.get(name, _UNKNOWN)
        if known is None:
            return self._whole(request)
        with self._client.recorded() as exchange:
            answer = self._whole(request)
        sent = exchange.request
        if sent is None or exchange.response is None:  # another client sends this provider's requests
            self._keep(name, None)
            return answer
        body = _parsed(sent.content)
        if not sent.url.path.endswith(_SUFFIX) or body is None or self._answer(exchange) != answer:
            self._keep(name, None)
            return answer
        arguments = _of_all(body)
        kind = _Kind(sent.url, _headers(sent), dict(sent.extensions), arguments, shapes | known.shapes)
        same = known is _UNKNOWN or _text(arguments) == _text(known.arguments)
        as_given = all(_text(body.get(key)) == _text(value) for key, value in own.items())
        self._keep(name, kind if same and as_given else None)
        return answer

    def _keep(self, name: str, kind: _Kind | None) -> None:
        if len(self._kinds) >= _MOST_KINDS:
            self._kinds.clear()  # an agent that asks differently each time
        self._kinds[name] = kind

    def _send(self, kind: _Kind, own: Json) -> Exchange:
        content = json.dumps({**kind.arguments, **own}, separators=(",", ":")).encode()
        request = httpx.Request("POST", kind.url, headers=kind.headers, content=content, extensions=kind.extensions)
        try:
            return Exchange(request, self._client.send(request))
        except Exception as error:  # whatever it is, litellm reads it
            return Exchange(request, error=error)

    def _answer(self, came: Exchange) -> Json | None:
        """None if it is not a plain answer."""
        if came.response is None or came.response.status_code != 200:
            return None
        body = _parsed(came.response.content)
        if not body or not body.get("usage"):
            return None
        try:
            return self._read(body)
        except Exception:  # litellm says what is wrong with it
            return None

    def _check(self, name: str, request: Json, came: Exchange, answer: Json | None) -> Json:
        """How litellm reads the response. Raises what it raises."""
        with self._client.replayed(came) as exchange:
            whole = self._whole(request)
        sent = exchange.request
        assert came.request is not None
        if sent is None or _fields(sent) != _fields(came.request) or answer not in (None, whole):
            self._keep(name, None)
        elif sent.url != came.request.url or _headers(sent) != _headers(came.request):
            self._kinds.pop(name, None)  # a new key, another address: it is learned again
        return whole


def _of_all(request: Json) -> Json:
    return {key: value for key, value in request.items() if key not in _OF_ONE_CALL}


def _headers(request: httpx.Request) -> dict[str, str]:
    """Without headers that belong to one request alone."""
    return {name: value for name, value in request.headers.items() if name not in ("content-length", "cookie")}


def _fields(request: httpx.Request) -> list[str]:
    """The fields of the body: the contents of each in order, the fields themselves in any order."""
    return sorted(f"{key}: {_text(value)}" for key, value in (_parsed(request.content) or {}).items())


def _text(value: Any) -> str:
    return json.dumps(value)


def _without_empty(messages: list[Json]) -> list[Json]:
    """The messages as litellm sends them: without fields that are null."""
    return [{key: value for key, value in message.items() if value is not None} for message in messages]


def _shape(value: Any) -> str:
    """The structure of a message: the role, the names of its fields and their types."""
    if isinstance(value, dict):
        inner = ",".join(f"{key}:{value[key] if key == 'role' else _shape(value[key])}" for key in sorted(value))
        return "{" + inner + "}"
    if isinstance(value, list):
        return "[" + ",".join(sorted(set(map(_shape, value)))) + "]"
    return type(value).__name__


def _parsed(content: bytes) -> Json | None:
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None
