"""The LLM gateway: every chat completion of a simulation passes here, whoever asks for it.

Requests and answers have the form of OpenAI's chat completions. A `Session` belongs to one trial of one task. It pins
the agent's model and reasoning effort, retries and classifies errors, meters tokens, cost and latency for each role,
enforces the simulation's budget, and remembers the answers, so that a trial that has to be run once more does not pay
for the same call twice.
"""

import json
import random
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from autoharness import strict_json
from autoharness.agent_request import problem_of
from autoharness.answers import Answers
from autoharness.errors import (
    AgentError,
    InfrastructureError,
    JudgeError,
    ProviderError,
    SimulationError,
    UserSimulatorError,
)
from autoharness.providers import TIMED_OUT, Model, ProviderFault, Request, Response, usage_of
from autoharness.results import Usage, digest, exact_digest

AGENT, USER, JUDGE = "agent", "user", "judge"

_ERRORS = {AGENT: ProviderError, USER: UserSimulatorError, JUDGE: JudgeError}
_LONGEST_PAUSE_S = 60.0
_ABOUT_THE_ACCOUNT = frozenset({401, 402, 403, 429})
"""Such a fault comes whatever was asked."""
_REFUSED = frozenset(range(400, 500)) - _ABOUT_THE_ACCOUNT - {TIMED_OUT}


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


class Session:
    """The LLM calls of one trial. Its methods may be called from several threads."""

    def __init__(
        self,
        models: Mapping[str, Model],
        agent_model: str,
        effort: str | None,
        limits: Limits,
        answers: Answers | None = None,
        trial: str = "",
    ) -> None:
        """`answers`: of earlier runs; those of this trial stand there under keys that begin with `trial`."""
        self._kept = answers
        self._trial = trial
        self._models = models
        self._agent_model = agent_model
        self._effort = effort
        self._limits = limits
        self._usage: dict[str, Usage] = {}
        self._charged = Usage()
        """What the agent's answers cost when they were paid for, be it in an earlier run: its budget counts them."""
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
        """Answer the user simulator, the judge, or a control. Raises InfrastructureError of the role's kind.

        What a control asks is what an untouched agent asks, by definition.
        Raises AgentError where it is the agent's words that the provider does not take: too long, or refused in a
        request that passes with other words in their place. Or an agent could void the tasks that it fails.
        """
        if role == AGENT:
            return self.complete_for_agent(request, lambda: self._checked(request))
        try:
            return self._ask(role, request)
        except ProviderFault as fault:
            if not fault.alone:
                raise self._blamed(role, request, fault) from fault
        try:  # others passed the limit that it met; it may be over by now
            return self._ask(role, request)
        except ProviderFault as fault:
            raise self._blamed(role, request, fault) from fault

    def _blamed(self, role: str, request: Request, fault: ProviderFault) -> SimulationError:
        refused = role == USER and (fault.status_code in _REFUSED or fault.alone)
        if fault.context_overflow or (refused and self._takes(role, _with_harmless_words(request))):
            return AgentError(f"the {role}'s provider refused what the agent said: {fault}")
        return self._infrastructure(role, fault)

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
        if fault.status_code in _ABOUT_THE_ACCOUNT and not fault.alone:  # else it may be this request's own
            return False
        if fault.status_code not in _REFUSED and not fault.retryable:
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
        spent, limits = self._charged, self._limits
        if limits.max_tokens is not None and spent.tokens >= limits.max_tokens:
            raise AgentError(f"budget of the simulation spent: {spent.tokens} tokens")
        if limits.max_cost_usd is not None and spent.cost_usd >= limits.max_cost_usd:
            raise AgentError(f"budget of the simulation spent: {spent.cost_usd:.4f} USD")

    def _ask(self, role: str, request: Request, budget: bool = False) -> Response:
        """Answer from memory where this attempt may, also with an answer that is still on its way.

        `budget`: whether the simulation's budget bounds it. Raises AgentError where that is spent.
        """
        key = f"{role} {exact_digest(request)}"
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
            answer.set_result(self._kept_or_paid(role, request, digest([self._trial, key, number])))
        except BaseException as error:
            with self._lock:
                answers.remove(answer)
            answer.set_exception(error)
        return answer.result()

    def _kept_or_paid(self, role: str, request: Request, key: str) -> Response:
        """An answer of an earlier run, or a new one, which is kept. A judge's is not: it may be of no use."""
        kept = self._kept if role != JUDGE else None
        response = kept.find(key) if kept else None
        if response is None:
            response = self._retrying(role, request, self._limits.retries)
            if kept:
                kept.keep(key, response)
        else:
            with self._lock:
                self._add(role, Usage(cached_calls=1), charged=usage_of(response, 0))
        return response

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
            paid = usage_of(response, time.monotonic() - started)
            self._add(role, paid, charged=paid)
        self._check_counted(role, paid)
        if role != AGENT and not _says_something(message):
            raise ProviderFault(f"the {role}'s LLM sent neither text nor a tool call that parses")
        return response

    def _add(self, role: str, paid: Usage, charged: Usage) -> None:
        self._usage[role] = self._usage.get(role, Usage()) + paid
        if role == AGENT:
            self._charged += charged

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
            self._retrying(role, request, retries=0)  # asked now: what it answered earlier says nothing
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
