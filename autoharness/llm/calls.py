"""LLM calls of one trial: answered from memory or paid for, retried, metered, and counted against the budget.

`Calls` remembers the answers, so that a further try does not pay for the same call twice (`call_journal`).

A call that infrastructure fails is retried in place: the simulation waits, and continues from there. It is not
started over, since a second try of the same conversation would be a second draw.

`gateway` decides what is asked, and whose fault a failure is.
"""

import math
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any

from autoharness.core.errors import AgentError, InfrastructureError
from autoharness.core.outcomes import Usage, digest, exact_digest
from autoharness.llm.call_journal import Answers, Journal
from autoharness.llm.circuit_breaker import Breaker
from autoharness.llm.completion import limit_of, only_reasoned, says_something
from autoharness.llm.prices import usage_of
from autoharness.llm.probe_requests import hello
from autoharness.llm.provider_fields import ProviderFields
from autoharness.llm.providers import TIMED_OUT, Model, ProviderFault, Request, Response, filtered
from autoharness.llm.refusals import Growth, says_filtered

AGENT, USER, JUDGE = "agent", "user", "judge"

_LONGEST_PAUSE_S = 60.0
_MOST_REFUSALS = 30
ABOUT_THE_ACCOUNT = frozenset({401, 402, 403, 429})
"""HTTP status codes of faults that do not depend on the request."""
REFUSED = frozenset(range(400, 500)) - ABOUT_THE_ACCOUNT - {TIMED_OUT}


@dataclass(frozen=True)
class Limits:
    """What one simulation may spend on its agent's LLM, and how patient the gateway is with providers."""

    max_llm_calls: int
    max_cost_usd: float | None
    retries: int
    max_tokens: int | None = None
    """Prompt and completion tokens together."""
    counted_in_tokens: frozenset[str] = frozenset()
    """Roles whose tokens some limit counts, of the simulation or of the run: their number has to be known."""
    counted_in_usd: frozenset[str] = frozenset()
    """Likewise: their calls have to have a known price."""
    patience: int = 0
    """How often a call that failed with all its retries is tried again, after a longer wait."""
    lost_s: float = math.inf
    """How long failed calls and the pauses after them may take in one simulation, in all."""


class Refused(AgentError):
    """The agent's request was refused; a further try repeats that."""


class Calls:
    """The LLM calls of one trial, each by itself. Its methods may be called from several threads."""

    def __init__(
        self,
        models: Mapping[str, Model],
        limits: Limits,
        answers: Answers | None,
        trial: str,
        journal: Journal | None,
        breakers: Mapping[str, Breaker] | None,
    ) -> None:
        """`answers`: of earlier runs; this trial's have keys that begin with `trial`.

        `journal`: what was answered in earlier tries. `breakers`: by role; without them each call to a model that is
        down fails by itself.
        """
        self._kept = answers
        self._trial = trial
        self._models = models
        self._limits = limits
        self._breakers = breakers or {}
        self.pristine: Callable[[], Request] | None = None
        """Makes the request that the untouched template would send now, with the experiment's arguments."""
        self.fields: dict[str, ProviderFields] = defaultdict(ProviderFields)
        """By role: what its provider wants back."""
        self._lost_s = 0.0
        """Seconds that failed calls and the pauses after them took."""
        self._usage: dict[str, Usage] = {}
        self.journal = journal or Journal()
        for role, usage in self.journal.unreported:
            self._usage[role] = self._usage.get(role, Usage()) + usage
        self._charged = sum((usage_of(one, 0) for one in self.journal.answers_of(AGENT)), Usage())
        """What the agent's answers cost when they were paid for, even in an earlier run: its budget counts them."""
        self._asked: Counter[str] = Counter()
        """How often each was asked in this try."""
        self._agent_calls = 0
        self.uncounted: dict[str, str] = {}
        """By role: "tokens" or "price", if a limit counts it and a response did not tell it."""
        self.waits: list[str] = []
        """Why calls had to be waited for and tried again."""
        self._growth = Growth()
        self._remarks: list[str] = []
        self._lock = threading.Lock()

    @property
    def usage(self) -> dict[str, Usage]:
        """What was paid for so far, by role."""
        with self._lock:
            return dict(self._usage)

    @property
    def remarks(self) -> list[str]:
        """What the models' servers do wrong, each once."""
        return [*self._remarks, *self._growth.notes]

    def begin_try(self) -> None:
        """Start the conversation over: calls that were answered before are answered from memory."""
        with self._lock:
            self.journal.rewind()
            self._asked.clear()
            self._agent_calls = 0

    def forget(self, role: str) -> None:
        """Drop the role's answers, which were of no use: it is asked again."""
        with self._lock:
            self.journal.forget(role)

    def spend_one(self) -> None:
        """Count one LLM call of the agent. Raises AgentError if it has spent them all."""
        with self._lock:
            if self._agent_calls >= self._limits.max_llm_calls:
                raise AgentError(f"budget of the simulation spent: {self._limits.max_llm_calls} LLM calls")
            self._agent_calls += 1

    def note_made(self, request: Request) -> str:
        """Note a request of the agent; see `Journal.make`."""
        with self._lock:
            return self.journal.make(exact_digest(request))

    def note_refusal(self, request: Request, why: str) -> None:
        """Note that a request of the agent was refused: a further try repeats that."""
        with self._lock:
            self.journal.note_refusal(AGENT, exact_digest(request), why)

    def patiently(self, role: str, ask: Callable[[], Response]) -> Response:
        """Retry `ask`, and raise what it raises in the end. After that another try in this run is worth nothing."""
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

    def ask(self, role: str, request: Request, budget: bool = False, instead_of: str = "") -> Response:
        """Answer a request; from memory if an earlier try has asked it.

        `budget`: whether the simulation's budget limits it. Raises AgentError if that is spent. `instead_of`: what
        `note_made` returned for the request. Raises ProviderFault if the model is up but does not answer this.
        """
        asked = exact_digest(request)
        key = f"{role} {asked}"
        with self._lock:
            number = self._asked[key]
            self._asked[key] += 1
            if known := self.journal.recall(role, asked, instead_of):
                if known.refused:
                    raise AgentError(known.refused)
                self._heard(role, known.answer)
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
            self._heard(role, response)
        return response

    def _heard(self, role: str, answer: Response) -> None:
        self.fields[role].note(answer)
        self._remarks += [one for one in answer.get("remarks") or [] if one not in self._remarks]

    def _kept_or_paid(self, role: str, request: Request, key: str) -> Response:
        """An answer of an earlier run, or a new one, which is kept. A judge's is not kept: it may be of no use."""
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

    def _check_budget(self) -> None:
        """Raises AgentError if nothing more may be paid for. Answers in memory are free."""
        spent, limits = self._charged, self._limits
        if self.journal.refusals >= _MOST_REFUSALS:  # to know whose fault each is costs calls that no budget counts
            raise Refused(f"no further request: {_MOST_REFUSALS} of this simulation were refused")
        if limits.max_tokens is not None and spent.tokens >= limits.max_tokens:
            raise Refused(f"budget of the simulation spent: {spent.tokens} tokens")
        if limits.max_cost_usd is not None and spent.cost_usd >= limits.max_cost_usd:
            raise Refused(f"budget of the simulation spent: {spent.cost_usd:.4f} USD")

    def _retrying(self, role: str, request: Request) -> Response:
        """Raises ProviderFault if the model is up but does not answer this request."""
        attempt = 0
        while True:
            self._wait_for(role)  # this time does not count as lost
            began = time.monotonic()
            try:
                return self._call(role, request)
            except ProviderFault as fault:
                failed = fault
            self._lost_s += time.monotonic() - began
            is_last = failed.waited or attempt == self._limits.retries or not self._has_patience
            is_over_soon = failed.retryable and failed.status_code != TIMED_OUT  # that has taken long already
            if attempt or is_last or not is_over_soon:
                if self._was_down(role, request, failed, began):
                    attempt = 0
                    continue
                if role in self._breakers and failed.status_code in ABOUT_THE_ACCOUNT and not failed.alone:
                    failed.alone = True  # a greeting was answered: the fault is this request's, or is over
                    if not attempt:
                        attempt = 1
                        continue
            if is_last or not failed.retryable:
                raise failed
            pause_s = max(failed.retry_after_s, random.uniform(0.5, 1) * 2**attempt)
            self._pause(min(pause_s, _LONGEST_PAUSE_S))
            attempt += 1

    def _was_down(self, role: str, request: Request, fault: ProviderFault, since: float) -> bool:
        """Whether the model answered no request at all, and does again by now. Refusals are handled elsewhere."""
        handled = fault.context_overflow or fault.alone or fault.is_mute or fault.of_template
        if handled or fault.status_code in REFUSED:
            return False
        return self.is_back(role, request, since)

    def is_back(self, role: str, request: Request, since: float) -> bool:
        """For a call that began at `since` and failed: whether the model was down, and answers again by now."""
        if role not in self._breakers:
            return False
        return self._breakers[role].outlast(since, partial(self._probe, role, request))

    def _probe(self, role: str, request: Request) -> ProviderFault | None:
        if role == AGENT and self.pristine:
            request = self.pristine()
        try:
            self._paid(role, hello(request), is_its_own=False)
        except ProviderFault as fault:
            return fault
        return None

    def _wait_for(self, role: str) -> None:
        """Wait as long as the role's model is down."""
        if role in self._breakers:
            self._breakers[role].wait()

    def _call(self, role: str, request: Request, is_its_own: bool = True) -> Response:
        response, message, paid = self._paid(role, request, is_its_own)
        self._check_counted(role, paid)
        if says_filtered(HTTPStatus.OK, str(response["choices"][0].get("finish_reason"))):
            raise filtered("it has cut the answer")
        if mute := only_reasoned(role, request, response):
            if role != AGENT or not self._asks_for_less(request):
                raise ProviderFault(f"{mute}: raise max_tokens in {role}_llm_args", is_mute=True)
            response["remarks"] = [f"{mute}: the agent set that limit"]
        if role != AGENT and not says_something(message):
            raise ProviderFault(f"the {role}'s LLM sent neither text nor a tool call that parses")
        return response

    def _asks_for_less(self, request: Request) -> bool:
        """Whether the agent has set a lower limit than the experiment's."""
        return self.pristine is not None and limit_of(request) < limit_of(self.pristine())

    def _paid(self, role: str, request: Request, is_its_own: bool = True) -> tuple[Response, dict[str, Any], Usage]:
        """The answer, its message and what it cost, useful or not. Raises ProviderFault.

        `is_its_own`: whether the simulation's budget counts it.
        """
        started = time.monotonic()
        response = self.fields[role].ask(self._models[role], request)
        message = response["choices"][0]["message"]
        if role in self._breakers:
            self._breakers[role].has_answered()
        with self._lock:
            paid = usage_of(response, time.monotonic() - started)
            self._add(role, paid, charged=paid if is_its_own else Usage())
            self._growth.note(role, request, paid.prompt_tokens)
        return response, message, paid

    def _add(self, role: str, paid: Usage, charged: Usage) -> None:
        self._usage[role] = self._usage.get(role, Usage()) + paid
        self.journal.note_paid(role, paid)
        if role == AGENT:
            self._charged += charged

    def _check_counted(self, role: str, paid: Usage) -> None:
        """Raises ProviderFault if a limit counts what this response does not tell: the limit could not be kept."""
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

    def takes(self, role: str, request: Request) -> bool:
        """Whether a provider that failed on another request answers this one at once."""
        return self.fault_of(role, request) is None

    def fault_of(self, role: str, request: Request) -> ProviderFault | None:
        """How a provider that failed on another request fails on this one; None if it answers."""
        self._wait_for(role)
        began = time.monotonic()
        try:
            self._call(role, request, is_its_own=False)  # asked now: an earlier answer proves nothing
        except ProviderFault as fault:
            self._lost_s += time.monotonic() - began
            return fault
        return None
