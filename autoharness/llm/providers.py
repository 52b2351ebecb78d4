"""LLM providers: calls models through litellm, of any provider that litellm knows.

Requests and answers have the form of OpenAI's chat completions. A call has a time-out, passes the throttle of its
model, takes the fast path if there is one, and ends with a completion or a ProviderFault.
"""

import itertools
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import cache, cached_property, partial
from http import HTTPStatus
from typing import Any, Protocol

from autoharness.core.endpoints import Endpoint
from autoharness.core.outcomes import NO_SERVER
from autoharness.core.redaction import guard, one_line, scrubbed, without_whole_keys
from autoharness.llm.completion import regular
from autoharness.llm.prices import OPENAI, has_price, stated_cost, usage_of
from autoharness.llm.rate_limit import Throttle, pause_after
from autoharness.llm.refusals import (
    hint,
    message_of,
    said_by,
    says_filtered,
    says_no_credit,
    says_too_long,
)
from autoharness.llm.request_schema import beyond_schema

Request = dict[str, Any]
Response = dict[str, Any]

_NOT_WORTH_A_RETRY = frozenset({400, 401, 402, 403, 404, 413, 422})
TIMED_OUT = 408
_BAD_REQUEST = 400
_TOO_MANY = 429
LITELLMS = "provider_specific_fields"
"""litellm's field for the fields of a message that it does not know."""
_TRANSLATED = ("anthropic", "bedrock", "gemini", "vertex_ai", "vertex_ai_beta")
"""litellm's providers whose requests it writes anew, since their protocol is not OpenAI's."""
_BY_RESPONSES = re.compile(r"gpt-|codex|o\d|computer-use|deep-research")
"""Names of models that litellm may call over OpenAI's /responses, which most servers do not have."""
_MORE_TRIES = 8
"""How many more tries than `retries` a call has that meets the rate limit while others pass."""
_PATIENCE_S = 24.0
"""Per retry of `retries`: a call that meets the rate limit is not given up earlier."""


class ProviderFault(Exception):
    """A model did not answer with a completion. `status_code` is HTTP's, 0 if there was no answer at all."""

    def __init__(
        self, message: str, status_code: int = 0, context_overflow: bool = False, is_mute: bool = False
    ) -> None:
        """`is_mute`: the model was asked and answered, but with reasoning alone."""
        super().__init__(scrubbed(message))  # agents and traces see it
        self.said = str(self)
        """All that the server said."""
        self.status_code = status_code
        self.context_overflow = context_overflow or says_too_long(status_code, message)
        self.retry_after_s = 0.0
        """How long the provider asks to wait before the next try."""
        self.is_mute = is_mute
        is_too_long = self.context_overflow and status_code < HTTPStatus.INTERNAL_SERVER_ERROR  # more may be wrong
        self.retryable = status_code not in _NOT_WORTH_A_RETRY and not is_too_long and not is_mute
        self.waited = False
        """Whether the call has already waited and been retried as often as allowed."""
        self.alone = False
        """Whether other calls passed the limit meanwhile."""
        self.of_template = False
        """Whether the model's chat template refuses the roles of the conversation: see `server_forms`."""


def filtered(what: str) -> ProviderFault:
    """A refusal of the provider's content filter. It is one of the request, whatever status the provider gives it."""
    return ProviderFault(f"the provider's content filter refused it: {what}", _BAD_REQUEST)


class Model(Protocol):
    """Something that answers chat completion requests: a provider through litellm, or a built-in model."""

    def __call__(self, request: Request) -> Response:
        """Raises ProviderFault. A response may carry `cost_usd`: None if the price is unknown."""


class LiteLLM:
    """A provider's model, through litellm."""

    def __init__(self, model: str, timeout_s: float, endpoint: Endpoint | None = None) -> None:
        """`endpoint`: the server to call; None: the server of the model's provider, as litellm knows it."""
        import litellm  # takes seconds: imported only if a provider is really called

        from autoharness.llm.fast_path import FastPath

        litellm.drop_params = True
        litellm.suppress_debug_info = True
        self._litellm = litellm
        guard([endpoint] if endpoint else [])
        self._endpoint = endpoint
        self._model = f"{OPENAI}/{model}" if endpoint else model
        self._only_chat = False
        self._timeout_s = timeout_s
        self._client = _http_client()
        self._complete = FastPath(self._client, self._completion, self._read)

    def __call__(self, request: Request) -> Response:
        """The client limits the wait for each byte only: a server that sends slowly would hold a call for ever.

        So the call is made on its own thread, and given up after the time-out. The cost of an abandoned call is not
        counted; its thread ends with its connection.
        """
        answer: Future[Response] = Future()
        threading.Thread(target=self._ask, args=(request, answer), daemon=True).start()
        try:
            return answer.result(self._timeout_s)
        except TimeoutError:
            raise ProviderFault(f"no answer within {self._timeout_s:g} s (llm_timeout_s)", TIMED_OUT) from None

    def _ask(self, request: Request, answer: Future[Response]) -> None:
        try:
            answer.set_result(self._answer(request))
        except BaseException as error:  # whatever it is: its caller waits
            answer.set_exception(error)

    def _answer(self, request: Request) -> Response:
        try:
            answer: Response = without_whole_keys(self._complete(_as_sent(request, self._model, self._provider)))
            return answer
        except Exception as error:  # litellm's errors have no common base; each has a status code
            raise self._fault(error, request) from None

    @cached_property
    def _provider(self) -> str:
        """By litellm's name; empty if it knows none."""
        with suppress(Exception):  # litellm's errors have no common base
            return str(self._litellm.get_llm_provider(self._model)[1])
        return ""

    def _completion(self, request: Request) -> Response:
        name = self._model.removeprefix(f"{OPENAI}/")
        if not self._only_chat:
            try:
                return self._through_litellm(self._model, request)
            except Exception as error:  # litellm's errors have no common base
                no_such_path = getattr(error, "status_code", 0) in (404, 405)
                if not self._endpoint or not no_such_path or not _BY_RESPONSES.search(name):
                    raise
        answer = self._through_litellm(f"hosted_vllm/{name}", request)  # for servers with /chat/completions alone
        self._only_chat = True
        return answer

    def _through_litellm(self, model: str, request: Request) -> Response:
        where = {"api_base": self._endpoint.url, "api_key": self._endpoint.key} if self._endpoint else {}
        ours = {"model": model, "timeout": self._timeout_s, "max_retries": 0, "num_retries": 0, **where}
        translated = self._provider in _TRANSLATED and self._litellm.get_supported_openai_params(self._model)
        if "reasoning_effort" in request and "reasoning_effort" not in (translated or ()):
            # an effort that the provider does not know is an error, not a setting that is silently dropped
            ours["allowed_openai_params"] = ["reasoning_effort"]
        response = self._litellm.completion(**{**request, **ours})
        if response is None:  # after a second 422, by which litellm looks for arguments to drop
            raise ProviderFault(self._client.last.text, self._client.last.status_code)
        return self._response_of(response)

    def _cost_usd(self, response: Any) -> float | None:
        """By the price of the model that was asked for: a server may write another name into its answer."""
        with suppress(Exception):  # litellm knows no price
            model, provider, _, _ = self._litellm.get_llm_provider(self._model)
            usage = response.usage
            costs = self._litellm.cost_per_token(model, custom_llm_provider=provider, usage_object=usage)
            return float(sum(costs))
        return None

    def _read(self, body: Response) -> Response:
        """A completion's body as litellm reads it: see `fast_path`."""
        from litellm.litellm_core_utils.llm_response_utils.convert_dict_to_response import (
            convert_to_model_response_object,
        )
        from openai.types.chat import ChatCompletion

        model, provider, _, _ = self._litellm.get_llm_provider(self._model)
        empty = self._litellm.ModelResponse()
        if provider != OPENAI:
            empty.model = f"{provider}/{model}"
        dumped = ChatCompletion.construct(**body).model_dump()  # what its OpenAI client makes of it
        response = convert_to_model_response_object(response_object=dumped, model_response_object=empty)
        return self._response_of(response)

    def _response_of(self, response: Any) -> Response:
        """litellm's response as a chat completion, with what it cost: None if that is not known."""
        answer: Response = regular(response.model_dump(exclude_none=True))
        cost_usd = self._cost_usd(response)
        stated = stated_cost(answer.get("usage") or {})
        # litellm takes a provider that does not report its usage for a free one, and so some models it does not know
        known = usage_of(answer, 0).tokens and (stated is not None or cost_usd or has_price(self._model))
        answer["cost_usd"] = (cost_usd if stated is None else stated) if known else None
        return answer

    def _fault(self, error: Exception, request: Request) -> ProviderFault:
        code = getattr(error, "status_code", 0)
        code, said = code if isinstance(code, int) else 0, said_by(error)
        if says_filtered(code, said):
            return filtered(_one_line(error))
        line = _one_line(error)
        if line.endswith(f"Error code: {code}"):  # an error of another shape than OpenAI's
            line = one_line(f"{line}: {scrubbed(said)}")
        if "seed" in request:  # some servers repeat the request: its seed would tell an agent which trial this is
            line = re.sub(rf"\b{request['seed']}\b", "(seed)", line)
        key_name = self._endpoint.key_name if self._endpoint else ""
        told = hint(error, code, key_name)
        line = told if told.startswith(NO_SERVER) else line + told
        fault = ProviderFault(line, code, says_too_long(code, said))
        fault.said = scrubbed(said)
        fault.retry_after_s = _retry_after_s(error)
        no_credit = code == _TOO_MANY and not fault.retry_after_s and says_no_credit(str(error))
        fault.retryable = fault.retryable and not no_credit
        return fault


def _as_sent(request: Request, model: str, provider: str) -> Request:
    """The request as litellm passes it on whole.

    To the user's own server it drops some arguments beyond the schema, unless they are in `extra_body`. To any server
    of OpenAI's protocol it would send its own field of messages, and tau2's of calls: Google's server refuses names
    that it does not know.
    """
    own = () if provider in _TRANSLATED else (LITELLMS,)
    request = {**request, "messages": [_without(own, message) for message in request["messages"]]}
    beyond = beyond_schema(request) if model.startswith(f"{OPENAI}/") else {}
    moved = {name: value for name, value in beyond.items() if not name.startswith("extra_")}
    kept = {name: value for name, value in request.items() if name not in moved}
    return kept | {"extra_body": {**moved, **request.get("extra_body", {})}} if moved else request


def _without(own: tuple[str, ...], message: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in message.items() if name not in own}
    if calls := kept.get("tool_calls"):
        kept["tool_calls"] = [{name: value for name, value in call.items() if name != "name"} for call in calls]
    return kept


@cache
def _http_client() -> Any:
    """The HTTP client of every OpenAI client of litellm in this process."""
    import litellm
    from litellm.llms.custom_httpx.http_handler import get_ssl_configuration

    from autoharness.llm.fast_path import Client

    litellm.client_session = Client(verify=get_ssl_configuration())
    return litellm.client_session


class Throttled:
    """A model behind a throttle: all calls wait together for rate limits here.

    A call that meets the limit again and again while others pass has a problem of its own, such as a prompt beyond
    the account's tokens per minute: it waits alone, and not for ever. Otherwise an agent could make all others wait.
    """

    def __init__(self, model: Model, throttle: Throttle, retries: int) -> None:
        """`retries`: further tries of a call that meets the limit while no other call is answered."""
        self._model = model
        self._throttle = throttle
        self._retries = retries

    def __call__(self, request: Request) -> Response:
        fruitless, started = 0, time.monotonic()
        for tries in itertools.count():
            with self._throttle.slot() as begun:
                answered = self._throttle.answered
                try:
                    answer = self._model(request)
                except ProviderFault as fault:
                    if fault.status_code != _TOO_MANY or not fault.retryable:
                        raise
                    limit, limit.alone = fault, tries > 1 and self._throttle.answered > answered
                    if not limit.alone:
                        self._throttle.was_limited(begun, fault.retry_after_s)
                else:
                    self._throttle.has_answered()
                    return answer
            fruitless += answered == self._throttle.answered  # otherwise the provider is up, and busy
            spent = fruitless > self._retries or tries > self._retries + _MORE_TRIES
            if spent and time.monotonic() - started >= self._retries * _PATIENCE_S:
                break
            if limit.alone:
                time.sleep(pause_after(tries, limit.retry_after_s))
        limit.waited = True
        raise limit


class Providers:
    """The models that this process calls through litellm, each behind its throttle."""

    def __init__(self, on_limit: Callable[[str, float], None] = lambda model, pause_s: None) -> None:
        """`on_limit`: called with each model whose rate limit is met, with its server, and the pause in seconds."""
        self._on_limit = on_limit
        self._models: dict[str, tuple[Model, Throttle]] = {}
        self._lock = threading.Lock()

    def model(self, name: str, timeout_s: float, retries: int, endpoint: Endpoint | None = None) -> Model:
        """The same name on another server, or with another key, is another model."""
        called = f"{name} at {endpoint}" if endpoint else name
        with self._lock:
            if called not in self._models:
                throttle = Throttle(partial(self._on_limit, called))
                self._models[called] = Throttled(LiteLLM(name, timeout_s, endpoint), throttle, retries), throttle
            return self._models[called][0]

    def pause(self, name: str, pause_s: float) -> None:
        """Another worker has met the limit."""
        with self._lock:
            if name in self._models:
                self._models[name][1].pause(pause_s)


def missing_keys(model: str) -> str:
    """Why a provider cannot be asked, by litellm's own check, such as "X is not set"; empty if it can."""
    import litellm

    litellm.suppress_debug_info = True
    try:
        litellm.get_llm_provider(model)
    except Exception as error:  # litellm's errors have no common base
        return f"litellm knows no provider for it ({_one_line(error)[:160]}): name it PROVIDER/{model}"
    found = litellm.validate_environment(model)
    return "" if found["keys_in_environment"] else f"{' or '.join(found['missing_keys'])} is not set"


def _retry_after_s(error: Exception) -> float:
    """The seconds of a Retry-After header; 0 if there is none, or a date instead."""
    headers = getattr(error, "litellm_response_headers", None) or {}
    try:
        return float(headers.get("retry-after", 0))
    except ValueError:
        return 0.0


def _one_line(error: Exception) -> str:
    said = str(error).partition("Traceback (most recent call last)")[0]  # litellm's, beside a broken answer
    return one_line(scrubbed(message_of(said))) or type(error).__name__
