"""The LLM gateway: every chat completion of a simulation passes here, whoever asks for it.

Requests and answers have the form of OpenAI's chat completions. A `Session` belongs to one trial of one task. It pins
the agent's model and reasoning effort, retries and classifies errors, meters tokens, cost and latency for each role,
enforces the simulation's budget, and remembers the answers, so that a trial that has to be tried again does not pay
for the same call twice (`call_journal`).

A call that infrastructure fails is tried again where it stands: the simulation waits, and goes on from there. It is
not started over, since a second try of the same conversation would be a second draw.
"""

import json
import math
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from autoharness.core import strict_json
from autoharness.core.errors import (
    AgentError,
    InfrastructureError,
    JudgeError,
    ProviderError,
    SimulationError,
    UserSimulatorError,
)
from autoharness.core.outcomes import Usage, digest, exact_digest
from autoharness.llm.answer_cache import Answers
from autoharness.llm.call_journal import Journal
from autoharness.llm.circuit_breaker import Breaker
from autoharness.llm.probe_requests import hello, with_harmless_words, without_own_words
from autoharness.llm.providers import TIMED_OUT, Model, ProviderFault, Request, Response, usage_of
from autoharness.llm.request_schema import problem_of

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
    patience: int = 0
    """How often a call that failed with all its retries is tried again, after a longer wait."""
    lost_s: float = math.inf
    """How long the simulation may take in all for calls that fail, and for the pauses before their next tries."""


class _Refused(AgentError):
    """What came of a request of the agent's, for a further try to repeat."""


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
        journal: Journal | None = None,
        seed: int | None = None,
        breakers: Mapping[str, Breaker] | None = None,
    ) -> None:
        """`answers`: of earlier runs; those of this trial stand there under keys that begin with `trial`.

        `call_journal`: what was answered in earlier tries. `seed`: for requests of the agent that have none.
        `breakers`: by role; without them a model that is down fails each call by itself.
        """
        self._kept = answers
        self._trial = trial
        self._models = models
        self._agent_model = agent_model
        self._effort = effort
        self._limits = limits
        self._seed = seed
        self._breakers = breakers or {}
        self._pristine: Callable[[], Request] | None = None
        """Makes the request that the untouched template would send now."""
        self._lost_s = 0.0
        """For calls that failed, and for the pauses after them."""
        self._usage: dict[str, Usage] = {}
        self.journal = journal or Journal()
        for role, usage in self.journal.unreported:
            self._usage[role] = self._usage.get(role, Usage()) + usage
        self._charged = sum((usage_of(one, 0) for one in self.journal.answers_of(AGENT)), Usage())
        """What the agent's answers cost when they were paid for, be it in an earlier run: its budget counts them."""
        self._asked: Counter[str] = Counter()
        """How often each was asked in this try."""
        self._agent_calls = 0
        self.uncounted: dict[str, str] = {}
        """By role: "tokens" or "price", where a limit counts what a response did not tell."""
        self.waits: list[str] = []
        """Why calls had to be waited for and tried again."""
        self._lock = threading.Lock()
        self._agents_turn = threading.Lock()
        """One call of the agent at a time: or it could void a trial that goes wrong by flooding its own provider."""

    @property
    def usage(self) -> dict[str, Usage]:
        """What was paid for so far, by role."""
        with self._lock:
            return dict(self._usage)

    def begin_try(self) -> None:
        """Start the conversation over: calls that were answered before are answered from memory."""
        with self._lock:
            self.journal.rewind()
            self._asked.clear()
            self._agent_calls = 0

    def forget_judge(self) -> None:
        """The judge's answers were of no use: it is asked again."""
        with self._lock:
            self.journal.forget(JUDGE)

    def complete(self, role: str, request: Request) -> Response:
        """Answer the user simulator, the judge, or a control. Raises InfrastructureError of the role's kind.

        What a control asks is what an untouched agent asks, by definition.
        Raises AgentError where it is the agent's words that the provider does not take: too long, or refused in a
        request that passes with other words in their place. Or an agent could void the tasks that it fails.
        """
        if role == AGENT:
            return self.complete_for_agent(request, lambda: self._checked(request))
        return self._patiently(role, lambda: self._complete(role, request))

    def _complete(self, role: str, request: Request) -> Response:
        try:
            return self._ask(role, request)
        except ProviderFault as fault:
            if not fault.alone and (role != USER or fault.status_code not in _REFUSED):
                raise self._blamed(role, request, fault) from fault
        try:  # it may be over by now: a limit that others passed, a refusal of a moment's
            return self._ask(role, request)
        except ProviderFault as fault:
            raise self._blamed(role, request, fault) from fault

    def _blamed(self, role: str, request: Request, fault: ProviderFault) -> SimulationError:
        refused = role == USER and (fault.status_code in _REFUSED or fault.alone)
        if fault.context_overflow or (refused and self._takes(role, with_harmless_words(request))):
            return AgentError(f"the {role}'s provider refused what the agent said: {fault}")
        return self._infrastructure(role, request, fault)

    def complete_for_agent(self, request: Request, pristine: Callable[[], Request]) -> Response:
        """Answer the agent. Raises AgentError where the request is at fault, else ProviderError.

        `pristine` makes the request that the untouched template would send now: where the provider takes that one
        but refuses the agent's (a 4xx), or fails on it again and again, the fault is the agent's.
        """
        request, self._pristine = self._checked(request), pristine
        with self._agents_turn:
            self._spend_a_call()
        with self._lock:
            instead_of = self.journal.make(exact_digest(request))
        try:
            return self._patiently(AGENT, lambda: self._complete_for_agent(request, pristine, instead_of))
        except _Refused as refusal:
            with self._lock:
                self.journal.note_refusal(AGENT, exact_digest(request), str(refusal))
            raise

    def _patiently(self, role: str, ask: Callable[[], Response]) -> Response:
        """Raises what `ask` raises in the end. After all this patience, another try of this run is worth nothing."""
        for attempt in range(self._limits.patience + 1):
            try:
                return ask()
            except InfrastructureError as error:
                if not error.retryable or attempt == self._limits.patience or not self._has_patience:
                    error.retryable = error.retryable and not self._limits.patience
                    raise
                why = f"the {role}'s call was tried again: {error.status}: {error}"
                with self._lock:
                    self.journal.note_failure(why)
                self.waits.append(why)
            self._pause(random.uniform(0.5, 1) * 2 ** (attempt + 1))
        raise AssertionError("unreachable: the last try returns or raises")

    @property
    def _has_patience(self) -> bool:
        return self._lost_s < self._limits.lost_s

    def _pause(self, pause_s: float) -> None:
        time.sleep(pause_s)
        self._lost_s += pause_s

    def _complete_for_agent(self, request: Request, pristine: Callable[[], Request], instead_of: str) -> Response:
        try:
            with self._agents_turn:
                return self._ask(AGENT, request, True, instead_of)
        except ProviderFault as fault:
            if fault.context_overflow:
                raise _Refused(f"the conversation is too long for the model: {fault}") from fault
            if not self._is_about(request, pristine(), fault):
                raise self._infrastructure(AGENT, request, fault) from fault
            return self._once_more(request, pristine, instead_of)

    def _is_about(self, request: Request, pristine: Request, fault: ProviderFault) -> bool:
        """Whether the provider, which failed on the agent's request, takes the pristine one.

        Or that one without what the agent itself said earlier, if it refuses both: the word may stand in a tool call.
        """
        pristine = self._with_arguments(pristine)
        if fault.status_code in _ABOUT_THE_ACCOUNT and not fault.alone:  # else it may be this request's own
            return False
        if fault.status_code not in _REFUSED and not fault.retryable and not fault.alone:
            return False
        if request != pristine and self._takes(AGENT, pristine):
            return True
        return fault.status_code in _REFUSED and self._takes(AGENT, without_own_words(pristine))

    def _once_more(self, request: Request, pristine: Callable[[], Request], instead_of: str) -> Response:
        """After a failure, although the provider took another request.

        It may be over by now: a proxy says 404 for a moment, too. Or an agent voids the trials that go wrong, by
        requests that break a client library or take for ever.
        """
        try:
            with self._agents_turn:
                return self._ask(AGENT, request, True, instead_of)
        except ProviderFault as fault:
            if not self._is_about(request, pristine(), fault):
                raise self._infrastructure(AGENT, request, fault) from fault
            why = "the provider fails on the agent's request again and again, and takes another one"
            if fault.status_code in _REFUSED:
                why = "the provider refused the agent's request twice, and takes another one"
            raise _Refused(f"{why}: {fault}") from fault

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
        return self._with_arguments(checked)

    def _with_arguments(self, request: Request) -> Request:
        """With those of the experiment that the agent does not choose."""
        return self._with_seed(request) | ({"reasoning_effort": self._effort} if self._effort else {})

    def _with_seed(self, request: Request) -> Request:
        """With the trial's seed, which no agent is told: it would say which trial this is."""
        if self._seed is None or "seed" in request:
            return request
        last = ("tools", "tool_choice")  # where it stood when agents passed it on: kept answers go by the order
        before = {key: value for key, value in request.items() if key not in last}
        return before | {"seed": self._seed} | {key: request[key] for key in last if key in request}

    def _spend_a_call(self) -> None:
        with self._lock:
            if self._agent_calls >= self._limits.max_llm_calls:
                raise AgentError(f"budget of the simulation spent: {self._limits.max_llm_calls} LLM calls")
            self._agent_calls += 1

    def _check_budget(self) -> None:
        """Raises AgentError where nothing more may be paid for. What is in memory is free."""
        spent, limits = self._charged, self._limits
        if limits.max_tokens is not None and spent.tokens >= limits.max_tokens:
            raise _Refused(f"budget of the simulation spent: {spent.tokens} tokens")
        if limits.max_cost_usd is not None and spent.cost_usd >= limits.max_cost_usd:
            raise _Refused(f"budget of the simulation spent: {spent.cost_usd:.4f} USD")

    def _ask(self, role: str, request: Request, budget: bool = False, instead_of: str = "") -> Response:
        """Answer from memory what an earlier try has asked.

        `budget`: whether the simulation's budget bounds it. Raises AgentError where that is spent. `instead_of`: what
        `Journal.make` says of the request.
        """
        asked = exact_digest(request)
        key = f"{role} {asked}"
        with self._lock:
            number = self._asked[key]
            self._asked[key] += 1
            if known := self.journal.recall(role, asked, instead_of):
                if known.refused:
                    raise AgentError(known.refused)
                return known.answer
            if budget:
                self._check_budget()
        try:
            response = self._kept_or_paid(role, request, digest([self._trial, key, number]))
        except BaseException:
            with self._lock:
                self._asked[key] -= 1
            raise
        with self._lock:
            self.journal.note_answer(role, asked, response)
        return response

    def _kept_or_paid(self, role: str, request: Request, key: str) -> Response:
        """An answer of an earlier run, or a new one, which is kept. A judge's is not: it may be of no use."""
        kept = self._kept if role != JUDGE else None
        response = kept.find(key) if kept else None
        if response is None:
            response = self._retrying(role, request)
            if kept:
                kept.keep(key, response)
        else:
            with self._lock:
                self._add(role, Usage(cached_calls=1), charged=usage_of(response, 0))
        return response

    def _retrying(self, role: str, request: Request) -> Response:
        """Raises ProviderFault where the model is there, and this request is not answered."""
        attempt = 0
        while True:
            self._wait_for(role)  # that is no time that this simulation loses
            began = time.monotonic()
            try:
                return self._call(role, request)
            except ProviderFault as fault:
                failed = fault
            self._lost_s += time.monotonic() - began
            is_last = failed.waited or attempt == self._limits.retries or not self._has_patience
            if attempt or is_last or not _is_over_soon(failed):
                if self._was_down(role, request, failed, began):
                    attempt = 0
                    continue
                if role in self._breakers and failed.status_code in _ABOUT_THE_ACCOUNT and not failed.alone:
                    failed.alone = True  # a greeting was answered: it is about this request, or was a moment's
                    if not attempt:
                        attempt = 1
                        continue
            if is_last or not failed.retryable:
                raise failed
            pause_s = max(failed.retry_after_s, random.uniform(0.5, 1) * 2**attempt)
            self._pause(min(pause_s, _LONGEST_PAUSE_S))
            attempt += 1

    def _was_down(self, role: str, request: Request, fault: ProviderFault, since: float) -> bool:
        """Whether the model took no request at all, and does again by now. A refusal is looked into elsewhere."""
        if role not in self._breakers or fault.context_overflow or fault.alone or fault.status_code in _REFUSED:
            return False
        return self._breakers[role].outlast(since, partial(self._probe, role, request))

    def _probe(self, role: str, request: Request) -> ProviderFault | None:
        if role == AGENT and self._pristine:
            request = self._with_arguments(self._pristine())
        try:
            self._paid(role, hello(request), is_its_own=False)
        except ProviderFault as fault:
            return fault
        return None

    def _wait_for(self, role: str) -> None:
        """As long as its model is down."""
        if role in self._breakers:
            self._breakers[role].wait()

    def _call(self, role: str, request: Request) -> Response:
        response, message, paid = self._paid(role, request)
        self._check_counted(role, paid)
        if role != AGENT and not _says_something(message):
            raise ProviderFault(f"the {role}'s LLM sent neither text nor a tool call that parses")
        return response

    def _paid(self, role: str, request: Request, is_its_own: bool = True) -> tuple[Response, dict[str, Any], Usage]:
        """The answer, its message and what it cost, be it of use or not. Raises ProviderFault.

        `is_its_own`: whether the simulation's budget counts it.
        """
        started = time.monotonic()
        response = self._models[role](request)
        message = _message_of(response)
        if role in self._breakers:
            self._breakers[role].has_answered()
        with self._lock:
            paid = usage_of(response, time.monotonic() - started)
            self._add(role, paid, charged=paid if is_its_own else Usage())
        return response, message, paid

    def _add(self, role: str, paid: Usage, charged: Usage) -> None:
        self._usage[role] = self._usage.get(role, Usage()) + paid
        self.journal.note_paid(role, paid)
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
        self._wait_for(role)
        try:
            self._call(role, request)  # asked now: what it answered earlier says nothing
        except ProviderFault:
            return False
        return True

    def _infrastructure(self, role: str, request: Request, fault: ProviderFault) -> InfrastructureError:
        """What fails whatever is asked is known by now, but for refusals: those are looked into here."""
        is_back = False
        if role in self._breakers and fault.status_code in _REFUSED:
            is_back = self._breakers[role].outlast(time.monotonic(), partial(self._probe, role, request))
        return _ERRORS[role](str(fault), retryable=fault.retryable or is_back)


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


def _is_over_soon(fault: ProviderFault) -> bool:
    """Whether the next try may well be answered. A time-out has taken long, and of a refusal there is no end."""
    return fault.retryable and fault.status_code != TIMED_OUT


def _says_something(message: dict[str, Any]) -> bool:
    calls = message.get("tool_calls") or []
    try:
        for call in calls:
            strict_json.loads_object(call["function"].get("arguments") or "{}")
    except (ValueError, TypeError):
        return False
    return bool(calls or (message.get("content") or "").strip())
