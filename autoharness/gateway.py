"""The LLM gateway: every chat completion of a simulation passes here, whoever asks for it.

Requests and answers have the form of OpenAI's chat completions. A `Session` belongs to one trial of one task. It pins
the agent's model and reasoning effort, gives each call a time-out, retries and classifies errors, meters tokens, cost
and latency for each role, enforces the simulation's budget, and remembers the answers, so that a trial that has to be
run once more does not pay for the same call twice.
"""

import json
import random
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from autoharness import strict_json
from autoharness.agent_request import problem_of
from autoharness.config import litellm_prices
from autoharness.errors import AgentError, InfrastructureError, JudgeError, ProviderError, UserSimulatorError
from autoharness.results import Usage, digest
from autoharness.scrub import scrubbed, without_whole_keys
from autoharness.throttle import Throttle

Request = dict[str, Any]
Response = dict[str, Any]

AGENT, USER, JUDGE = "agent", "user", "judge"

_ERRORS = {AGENT: ProviderError, USER: UserSimulatorError, JUDGE: JudgeError}
_LONGEST_PAUSE_S = 60.0
_NOT_WORTH_A_RETRY = frozenset({400, 401, 403, 404, 413, 422})
_TIMED_OUT = 408
_TOO_MANY = 429
_MOST_WAITS = 100
"""For the rate limit, of one call."""
_ABOUT_THE_ACCOUNT = frozenset({401, 403, 429})
"""Such a fault comes whatever was asked."""
_REFUSED = frozenset(range(400, 500)) - _ABOUT_THE_ACCOUNT - {_TIMED_OUT}


class ProviderFault(Exception):
    """A model did not answer with a completion. `status_code` is HTTP's, 0 where there was no answer at all."""

    def __init__(self, message: str, status_code: int = 0, context_overflow: bool = False) -> None:
        super().__init__(scrubbed(message))  # agents and traces see it
        self.status_code = status_code
        self.context_overflow = context_overflow
        self.retry_after_s = 0.0
        """How long the provider asks to wait before the next try."""
        self.retryable = status_code not in _NOT_WORTH_A_RETRY
        self.waited = False
        """Whether it was waited for and tried again as often as may be."""


class Model(Protocol):
    """Something that answers chat completion requests: a provider through litellm, or a model of our own."""

    def __call__(self, request: Request) -> Response:
        """Raises ProviderFault. A response may carry `cost_usd`: None where the price is unknown."""


@dataclass(frozen=True)
class Limits:
    """What one simulation may spend on its agent's LLM, and how patient the gateway is with providers."""

    max_llm_calls: int
    max_cost_usd: float | None
    retries: int
    max_tokens: int | None = None
    """Of prompts and completions together."""
    counted_in_tokens: frozenset[str] = frozenset()
    """Roles whose tokens some limit counts, of the simulation or of the run: it has to be known how many they are."""
    counted_in_usd: frozenset[str] = frozenset()
    """Likewise: their calls have to have a known price."""


class LiteLLM:
    """A provider's model, through litellm."""

    def __init__(self, model: str, timeout_s: float) -> None:
        import litellm  # seconds of import: only where a provider is really asked

        from autoharness.lean import Lean

        litellm.drop_params = True
        litellm.suppress_debug_info = True
        self._litellm = litellm
        self._model = model
        self._timeout_s = timeout_s
        self._complete = Lean(_http_client(), self._completion, self._read)

    def __call__(self, request: Request) -> Response:
        """The client bounds the wait for each byte alone: a server that drips would hold a call for ever.

        So it is made on a thread of its own, and given up after the time-out. What an abandoned call costs is lost
        to the meter; its thread ends with its connection.
        """
        answer: Future[Response] = Future()
        threading.Thread(target=self._ask, args=(request, answer), daemon=True).start()
        try:
            return answer.result(self._timeout_s)
        except TimeoutError:
            raise ProviderFault(f"no answer within {self._timeout_s:g} s (llm_timeout_s)", _TIMED_OUT) from None

    def _ask(self, request: Request, answer: Future[Response]) -> None:
        try:
            answer.set_result(without_whole_keys(self._complete(request)))
        except Exception as error:  # litellm's errors have no common base; each has a status code
            answer.set_exception(self._fault(error))

    def _completion(self, request: Request) -> Response:
        # an effort that the provider does not know is an error, not a setting that is silently dropped
        kept = ["reasoning_effort"] if "reasoning_effort" in request else None
        response = self._litellm.completion(
            **{**request, "model": self._model},
            timeout=self._timeout_s,
            max_retries=0,
            num_retries=0,
            allowed_openai_params=kept,
        )
        return _response_of(response, response._hidden_params.get("response_cost"))

    def _read(self, body: Response) -> Response:
        """A completion's body as litellm reads it: see `lean`."""
        from litellm.litellm_core_utils.llm_response_utils.convert_dict_to_response import (
            convert_to_model_response_object,
        )
        from openai.types.chat import ChatCompletion

        model, provider, _, _ = self._litellm.get_llm_provider(self._model)
        empty = self._litellm.ModelResponse()
        if provider != "openai":
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
        # a request that is beyond the account's tokens for a minute never passes: no rate limit that is over soon
        too_large = code == 429 and "too large" in str(error).lower()
        overflow = too_large or isinstance(error, self._litellm.ContextWindowExceededError)
        fault = ProviderFault(_one_line(error), code if isinstance(code, int) else 0, overflow)
        fault.retry_after_s = _retry_after_s(error)
        fault.retryable = fault.retryable and not too_large
        return fault


def _response_of(response: Any, cost_usd: float | None) -> Response:
    """litellm's response as a chat completion, with what it cost."""
    answer: Response = response.model_dump(exclude_none=True)
    # litellm takes a provider that does not say what it used for a free one
    answer["cost_usd"] = cost_usd if _usage_of(answer, 0).tokens else None
    return answer


@cache
def _http_client() -> Any:
    """What every OpenAI client of litellm's in this process sends through."""
    import litellm
    from litellm.llms.custom_httpx.http_handler import get_ssl_configuration

    from autoharness.lean import Client

    litellm.client_session = Client(verify=get_ssl_configuration())
    return litellm.client_session


class Throttled:
    """A model behind a throttle: rate limits are waited for here, by all calls together."""

    def __init__(self, model: Model, throttle: Throttle, retries: int) -> None:
        """`retries`: further tries of a call that meets the limit while no other call is answered."""
        self._model = model
        self._throttle = throttle
        self._retries = retries

    def __call__(self, request: Request) -> Response:
        fruitless = 0
        for _ in range(_MOST_WAITS):
            answered = self._throttle.answered
            with self._throttle.slot() as begun:
                try:
                    answer = self._model(request)
                except ProviderFault as fault:
                    if fault.status_code != _TOO_MANY or not fault.retryable:
                        raise
                    self._throttle.was_limited(begun, fault.retry_after_s)
                    limit = fault
                else:
                    self._throttle.has_answered()
                    return answer
            fruitless += answered == self._throttle.answered  # else the provider is there, and busy
            if fruitless > self._retries:
                break
        limit.waited = True
        raise limit


def missing_keys(model: str) -> str:
    """What of a provider's settings is not in the environment, by litellm's own check; empty where nothing is."""
    import litellm

    litellm.suppress_debug_info = True
    try:
        litellm.get_llm_provider(model)
    except Exception as error:  # litellm's errors have no common base
        return f"litellm knows no provider for it ({_one_line(error)[:160]}); try PROVIDER/{model}"
    found = litellm.validate_environment(model)
    return "" if found["keys_in_environment"] else " or ".join(found["missing_keys"])


def set_prices(prices: Mapping[str, Mapping[str, float]]) -> None:
    """Prices that litellm is to know: by model {"input", "output"}, in USD for a million tokens."""
    if not prices:
        return
    import litellm

    litellm.suppress_debug_info = True
    litellm.register_model(litellm_prices(prices))


def has_price(model: str) -> bool:
    """Whether litellm knows what a token of it costs."""
    import litellm

    try:
        known = litellm.get_model_info(model)
    except Exception:  # litellm's errors have no common base
        return False
    return None not in (known.get("input_cost_per_token"), known.get("output_cost_per_token"))


class Session:
    """The LLM calls of one trial. Its methods may be called from several threads."""

    def __init__(self, models: Mapping[str, Model], agent_model: str, effort: str | None, limits: Limits) -> None:
        self._models = models
        self._agent_model = agent_model
        self._effort = effort
        self._limits = limits
        self._usage: dict[str, Usage] = {}
        self._answers: dict[str, list[Future[Response]]] = {}
        """By role and request: what it was answered the first time it was asked in an attempt, the second, ..."""
        self._asked: dict[str, int] = {}
        """How often each was asked in this attempt."""
        self._agent_calls = 0
        self.uncounted: dict[str, str] = {}
        """By role: "tokens" or "price", where a limit counts what a response did not tell."""
        self._lock = threading.Lock()
        self._agents_turn = threading.Lock()
        """One call of the agent at a time: or it could void a trial that goes wrong by flooding its own provider."""

    @property
    def usage(self) -> dict[str, Usage]:
        """What was paid for so far, by role."""
        with self._lock:
            return dict(self._usage)

    def begin_attempt(self) -> None:
        """Start the conversation over: calls that were answered before are answered from memory."""
        with self._lock:
            self._asked.clear()
            self._agent_calls = 0

    def forget_judge(self) -> None:
        """The judge's answers were of no use: a further attempt asks it again."""
        with self._lock:
            self._answers = {key: answers for key, answers in self._answers.items() if not key.startswith(JUDGE)}

    def complete(self, role: str, request: Request) -> Response:
        """Answer the user simulator or the judge. Raises InfrastructureError of the role's kind.

        Raises AgentError where it is the agent's words that the provider does not take: too long, or refused in a
        request that passes with other words in their place. Or an agent could void the tasks that it fails.
        """
        try:
            return self._ask(role, request)
        except ProviderFault as fault:
            refused = role == USER and fault.status_code in _REFUSED
            if fault.context_overflow or (refused and self._takes(role, _with_harmless_words(request))):
                raise AgentError(f"the {role}'s provider refused what the agent said: {fault}") from fault
            raise self._infrastructure(role, fault) from fault

    def complete_for_agent(self, request: Request, pristine: Callable[[], Request]) -> Response:
        """Answer the agent. Raises AgentError where the request is at fault, else ProviderError.

        `pristine` makes the request that the untouched template would send now: where the provider takes that one
        but refuses the agent's (a 4xx), or fails on it again and again, the fault is the agent's.
        """
        request = self._checked(request)
        try:
            with self._agents_turn:
                self._spend_a_call()
                return self._ask(AGENT, request, budget=True)
        except ProviderFault as fault:
            if fault.context_overflow:
                raise AgentError(f"the conversation is too long for the model: {fault}") from fault
            if not self._is_about(request, pristine(), fault):
                raise self._infrastructure(AGENT, fault) from fault
            if fault.status_code in _REFUSED:
                raise AgentError(f"the provider refused the agent's request: {fault}") from fault
            return self._once_more(request, pristine)

    def _is_about(self, request: Request, pristine: Request, fault: ProviderFault) -> bool:
        """Whether the provider, which failed on the agent's request, takes the pristine one."""
        pristine |= {"reasoning_effort": self._effort} if self._effort else {}
        if (fault.status_code not in _REFUSED and not fault.retryable) or fault.status_code in _ABOUT_THE_ACCOUNT:
            return False
        return request != pristine and self._takes(AGENT, pristine)

    def _once_more(self, request: Request, pristine: Callable[[], Request]) -> Response:
        """After a failure that looked like an outage, although the provider took another request.

        It may be over by now. Or an agent voids the trials that go wrong, by requests that break a client library or
        take for ever.
        """
        try:
            with self._agents_turn:
                return self._ask(AGENT, request, budget=True)
        except ProviderFault as fault:
            if not self._is_about(request, pristine(), fault):
                raise self._infrastructure(AGENT, fault) from fault
            why = "the provider fails on the agent's request again and again, and takes another one"
            raise AgentError(f"{why}: {fault}") from fault

    def _checked(self, request: Request) -> Request:
        """The request with the experiment's model and effort. Raises AgentError where it asks for something else."""
        problem = problem_of(request)
        if problem:
            raise AgentError(problem)
        if request.get("model") not in (None, self._agent_model):
            raise AgentError(f"the experiment's model is {self._agent_model}, not {request['model']!r:.100}")
        if request.get("reasoning_effort") not in (None, "", self._effort):
            fixed, asked = self._effort or "not set", request["reasoning_effort"]
            raise AgentError(f"the experiment's reasoning effort is {fixed}, and it is fixed, not {asked!r:.100}")
        dropped = ("model", "reasoning_effort")
        checked = {key: value for key, value in request.items() if key not in dropped and value is not None}
        return checked | ({"reasoning_effort": self._effort} if self._effort else {})

    def _spend_a_call(self) -> None:
        with self._lock:
            if self._agent_calls >= self._limits.max_llm_calls:
                raise AgentError(f"budget of the simulation spent: {self._limits.max_llm_calls} LLM calls")
            self._agent_calls += 1

    def _check_budget(self) -> None:
        """Raises AgentError where nothing more may be paid for. What is in memory is free."""
        spent, limits = self._usage.get(AGENT, Usage()), self._limits
        if limits.max_tokens is not None and spent.tokens >= limits.max_tokens:
            raise AgentError(f"budget of the simulation spent: {spent.tokens} tokens")
        if limits.max_cost_usd is not None and spent.cost_usd >= limits.max_cost_usd:
            raise AgentError(f"budget of the simulation spent: {spent.cost_usd:.4f} USD")

    def _ask(self, role: str, request: Request, budget: bool = False, retries: int | None = None) -> Response:
        """Answer from memory where this attempt may, also with an answer that is still on its way.

        `budget`: whether the simulation's budget bounds it. Raises AgentError where that is spent. `retries`: fewer
        than the experiment has.
        """
        key = f"{role} {digest(request)}"
        with self._lock:
            number = self._asked.get(key, 0)
            answers = self._answers.setdefault(key, [])
            known = answers[number] if number < len(answers) else None
            if known is None:
                if budget:
                    self._check_budget()
                answer: Future[Response] = Future()
                answers.append(answer)
            self._asked[key] = number + 1
        if known is not None:
            return known.result()
        try:
            answer.set_result(self._retrying(role, request, self._limits.retries if retries is None else retries))
        except BaseException as error:
            with self._lock:
                answers.remove(answer)
            answer.set_exception(error)
        return answer.result()

    def _retrying(self, role: str, request: Request, retries: int) -> Response:
        for attempt in range(retries + 1):
            try:
                return self._call(role, request)
            except ProviderFault as fault:
                if not fault.retryable or fault.waited or attempt == retries:
                    raise
                pause_s = max(fault.retry_after_s, random.uniform(0.5, 1) * 2**attempt)
            time.sleep(min(pause_s, _LONGEST_PAUSE_S))
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _call(self, role: str, request: Request) -> Response:
        started = time.monotonic()
        response = self._models[role](request)
        message = _message_of(response)
        with self._lock:  # paid for, be it of use or not
            paid = _usage_of(response, time.monotonic() - started)
            self._usage[role] = self._usage.get(role, Usage()) + paid
        self._check_counted(role, paid)
        if role != AGENT and not _says_something(message):
            raise ProviderFault(f"the {role}'s LLM sent neither text nor a tool call that parses")
        return response

    def _check_counted(self, role: str, paid: Usage) -> None:
        """Raises ProviderFault where a limit counts what this response does not tell: it could not be kept."""
        if not paid.uncosted_calls:
            return
        if not paid.tokens and role in self._limits.counted_in_tokens | self._limits.counted_in_usd:
            self.uncounted[role] = "tokens"
        elif role in self._limits.counted_in_usd:
            self.uncounted[role] = "price"
        if role in self.uncounted:
            fault = ProviderFault(f"a limit counts the {self.uncounted[role]} of the {role}'s LLM: not known")
            fault.retryable = False
            raise fault

    def _takes(self, role: str, request: Request) -> bool:
        """Whether a provider that failed on another request answers this one, at once."""
        try:
            self._ask(role, request, retries=0)
        except ProviderFault:
            return False
        return True

    def _infrastructure(self, role: str, fault: ProviderFault) -> InfrastructureError:
        return _ERRORS[role](str(fault), retryable=fault.retryable)


def _with_harmless_words(request: Request) -> Request:
    """The user simulator's request, with something else in place of what the agent said."""
    messages = [
        {**message, "content": "Hello."} if message["role"] == "user" else message for message in request["messages"]
    ]
    return {**request, "messages": messages}


def _message_of(response: Response) -> dict[str, Any]:
    """The first choice's message. Raises ProviderFault where the body is no chat completion."""
    try:
        message: dict[str, Any] = response["choices"][0]["message"]
        strict_json.dumps(message)
        sound = all(isinstance(call["function"]["name"], str) for call in message.get("tool_calls") or [])
    except (KeyError, IndexError, TypeError, AttributeError, ValueError):
        sound = False
    if not sound:
        raise ProviderFault(f"not a chat completion: {json.dumps(response, default=str)[:200]}")
    return message


def _says_something(message: dict[str, Any]) -> bool:
    calls = message.get("tool_calls") or []
    try:
        for call in calls:
            strict_json.loads_object(call["function"].get("arguments") or "{}")
    except (ValueError, TypeError):
        return False
    return bool(calls or (message.get("content") or "").strip())


def _usage_of(response: Response, latency_s: float) -> Usage:
    tokens = response.get("usage") or {}
    cost_usd = response.get("cost_usd")
    return Usage(
        calls=1,
        prompt_tokens=int(tokens.get("prompt_tokens") or 0),
        completion_tokens=int(tokens.get("completion_tokens") or 0),
        cost_usd=cost_usd or 0.0,
        uncosted_calls=int(cost_usd is None),
        latency_s=latency_s,
    )


def _retry_after_s(error: Exception) -> float:
    """The seconds of a Retry-After header; 0 where there is none, or a date instead."""
    headers = getattr(error, "litellm_response_headers", None) or {}
    try:
        return float(headers.get("retry-after", 0))
    except ValueError:
        return 0.0


def _one_line(error: Exception) -> str:
    return " ".join(scrubbed(str(error)).split())[:300] or type(error).__name__
