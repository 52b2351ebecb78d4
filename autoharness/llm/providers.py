"""LLM providers: calls models through litellm, of any provider that litellm knows.

Requests and answers have the form of OpenAI's chat completions. A call has a time-out, passes the throttle of its
model, takes the fast path if there is one, and ends with a completion or a ProviderFault.
"""

import itertools
import re
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from functools import cache, partial
from typing import Any, Protocol

from autoharness.core.endpoints import Endpoint
from autoharness.core.outcomes import Usage
from autoharness.core.redaction import guard, one_line, scrubbed, without_whole_keys
from autoharness.llm.completion import regular
from autoharness.llm.rate_limit import Throttle, pause_after

Request = dict[str, Any]
Response = dict[str, Any]

_NOT_WORTH_A_RETRY = frozenset({400, 401, 402, 403, 404, 413, 422})
TIMED_OUT = 408
_TOO_MANY = 429
_NO_CREDIT = re.compile(
    r"insufficient[_ ](?:quota|balance|credit|fund)|exceeded your current quota|billing|out of credit|no credit"
    r"|credit balance|(?:spend(?:ing)?|usage|monthly|hard) (?:limit|cap)|recharge|arrears|overdue",
    re.IGNORECASE,
)
_SOON = re.compile(r"(?:retry|try again) (?:in|after)|retry_?delay|per[ _](?:second|minute)", re.IGNORECASE)
"""In the text of a 429: that the account has no credit left; and that it is a rate limit after all."""
_MILLION = 1_000_000
_OPENAI = "openai"
"""litellm's provider that sends the name behind the slash, whatever it is, to the user's own server."""
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
        self.status_code = status_code
        self.context_overflow = context_overflow
        self.retry_after_s = 0.0
        """How long the provider asks to wait before the next try."""
        self.is_mute = is_mute
        self.retryable = status_code not in _NOT_WORTH_A_RETRY and not is_mute
        self.waited = False
        """Whether the call has already waited and been retried as often as allowed."""
        self.alone = False
        """Whether other calls passed the limit meanwhile."""


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
        self._model = f"{_OPENAI}/{model}" if endpoint else model
        self._timeout_s = timeout_s
        self._complete = FastPath(_http_client(), self._completion, self._read)

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
            answer: Response = without_whole_keys(self._complete(request))
            return answer
        except Exception as error:  # litellm's errors have no common base; each has a status code
            raise self._fault(error) from None

    def _completion(self, request: Request) -> Response:
        # an effort that the provider does not know is an error, not a setting that is silently dropped
        kept = ["reasoning_effort"] if "reasoning_effort" in request else None
        where = {"api_base": self._endpoint.url, "api_key": self._endpoint.key} if self._endpoint else {}
        response = self._litellm.completion(
            **{**request, "model": self._model, **where},
            timeout=self._timeout_s,
            max_retries=0,
            num_retries=0,
            allowed_openai_params=kept,
        )
        return _response_of(response, response._hidden_params.get("response_cost"))

    def _read(self, body: Response) -> Response:
        """A completion's body as litellm reads it: see `fast_path`."""
        from litellm.litellm_core_utils.llm_response_utils.convert_dict_to_response import (
            convert_to_model_response_object,
        )
        from openai.types.chat import ChatCompletion

        model, provider, _, _ = self._litellm.get_llm_provider(self._model)
        empty = self._litellm.ModelResponse()
        if provider != _OPENAI:
            empty.model = f"{provider}/{model}"
        dumped = ChatCompletion.construct(**body).model_dump()  # what its OpenAI client makes of it
        response = convert_to_model_response_object(response_object=dumped, model_response_object=empty)
        try:
            cost_usd = self._litellm.completion_cost(response, model=model, custom_llm_provider=provider)
        except Exception:  # it knows no price
            cost_usd = None
        return _response_of(response, cost_usd)

    def _fault(self, error: Exception) -> ProviderFault:
        code = getattr(error, "status_code", 0)
        # a request beyond the account's tokens per minute never passes: this is not a rate limit that is over soon
        too_large = code == 429 and "too large" in str(error).lower()
        overflow = too_large or isinstance(error, self._litellm.ContextWindowExceededError)
        fault = ProviderFault(_one_line(error), code if isinstance(code, int) else 0, overflow)
        fault.retry_after_s = _retry_after_s(error)
        no_credit = code == _TOO_MANY and not fault.retry_after_s and _says_no_credit(str(error))
        fault.retryable = fault.retryable and not too_large and not no_credit
        return fault


def _says_no_credit(text: str) -> bool:
    return bool(_NO_CREDIT.search(text)) and not _SOON.search(text)


def _response_of(response: Any, cost_usd: float | None) -> Response:
    """litellm's response as a chat completion, with what it cost."""
    answer: Response = regular(response.model_dump(exclude_none=True))
    # litellm takes a provider that does not report its usage for a free one
    answer["cost_usd"] = cost_usd if usage_of(answer, 0).tokens else None
    return answer


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


def litellm_prices(prices: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, Any]]:
    """The prices of the configuration, in USD for a million tokens, as litellm takes them."""
    return {
        model: {
            "input_cost_per_token": price["input"] / _MILLION,
            "output_cost_per_token": price["output"] / _MILLION,
            "litellm_provider": model.partition("/")[0] if "/" in model else "openai",
            "mode": "chat",
        }
        for model, price in prices.items()
    }


def set_prices(prices: Mapping[str, Mapping[str, float]]) -> None:
    """Tell litellm prices: by model {"input", "output"}, in USD for a million tokens."""
    if not prices:
        return
    import litellm

    litellm.suppress_debug_info = True
    on_servers = {f"{_OPENAI}/{model}": price for model, price in prices.items()}
    litellm.register_model({**litellm_prices(on_servers), **litellm_prices(prices)})


def has_price(model: str) -> bool:
    """Whether litellm knows what a token of it costs, by that name or on the user's own server."""
    import litellm

    for name in (model, f"{_OPENAI}/{model}"):
        with suppress(Exception):  # litellm's errors have no common base
            known = litellm.get_model_info(name)
            if None not in (known.get("input_cost_per_token"), known.get("output_cost_per_token")):
                return True
    return False


def usage_of(response: Response, latency_s: float) -> Usage:
    tokens = response.get("usage") or {}
    cost_usd = response.get("cost_usd")
    return Usage(
        calls=1,
        prompt_tokens=max(0, int(tokens.get("prompt_tokens") or 0)),
        completion_tokens=max(0, int(tokens.get("completion_tokens") or 0)),
        cost_usd=cost_usd or 0.0,
        uncosted_calls=int(cost_usd is None),
        latency_s=latency_s,
    )


def _retry_after_s(error: Exception) -> float:
    """The seconds of a Retry-After header; 0 if there is none, or a date instead."""
    headers = getattr(error, "litellm_response_headers", None) or {}
    try:
        return float(headers.get("retry-after", 0))
    except ValueError:
        return 0.0


def _one_line(error: Exception) -> str:
    return one_line(scrubbed(str(error))) or type(error).__name__
