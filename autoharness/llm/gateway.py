"""The LLM gateway: every chat completion of a simulation passes here, for agent, user simulator and judge.

Requests and answers have the form of OpenAI's chat completions. A `Session` belongs to one trial of one task. It pins
the agent's model, reasoning effort and seed, and decides whose fault it is if a provider does not answer. `calls` has
what one call needs: memory, retries, the meter, the simulation's budget.
"""

import re
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from autoharness.core.errors import (
    AgentError,
    ContextTooSmall,
    InfrastructureError,
    JudgeError,
    ProviderError,
    SimulationError,
    UserSimulatorError,
)
from autoharness.core.outcomes import Usage
from autoharness.llm.call_journal import Answers, Journal
from autoharness.llm.calls import ABOUT_THE_ACCOUNT, AGENT, JUDGE, REFUSED, USER, Calls, Limits, Refused
from autoharness.llm.circuit_breaker import Breaker
from autoharness.llm.probe_requests import hello, opening, with_harmless_words, without_own_words
from autoharness.llm.providers import Model, ProviderFault, Request, Response
from autoharness.llm.refusals import context_figures
from autoharness.llm.request_schema import beyond_schema, problem_of

_SAID = ("messages", "tools", "tool_choice")
_ABOUT_ARGUMENTS = (400, 422)
_WORDS = {"reasoning_effort": ("thinking", "effort", "reasoning"), "thinking": ("reasoning",)}
"""Providers' other words for an argument."""
_ERRORS = {AGENT: ProviderError, USER: UserSimulatorError, JUDGE: JudgeError}


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
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        """`answers`, `trial`, `journal`, `breakers`: see `Calls`. `seed`: for agent requests that have none.

        `arguments`: the experiment's, for agent requests; see `agent_llm_args`.
        """
        self._calls = Calls(models, limits, answers, trial, journal, breakers)
        self._agent_model = agent_model
        self._effort = effort
        self._seed = seed
        self._arguments = dict(arguments or {})
        self.refused: dict[str, tuple[str, str]] = {}
        """By role: an argument of the experiment that the model refuses, whatever is said, and in which words.

        The argument is empty if the model's chat template refuses the conversation itself.
        """
        self.journal = self._calls.journal
        self.uncounted = self._calls.uncounted
        self.waits = self._calls.waits
        self._openings_taken: set[str] = set()
        """The roles whose model takes the opening of the conversation, as far as it was asked."""
        self._agents_turn = threading.Lock()
        """One call of the agent at a time: otherwise it could void a failing trial by flooding its own provider."""

    @property
    def usage(self) -> dict[str, Usage]:
        return self._calls.usage

    @property
    def remarks(self) -> list[str]:
        return self._calls.remarks

    def begin_try(self) -> None:
        """Start the conversation over: calls that were answered before are answered from memory."""
        self._calls.begin_try()

    def forget_judge(self) -> None:
        """Drop the judge's answers, which were of no use: it is asked again."""
        self._calls.forget(JUDGE)

    def complete(self, role: str, request: Request) -> Response:
        """Answer the user simulator, the judge, or a baseline agent. Raises InfrastructureError of the role's kind.

        By definition a baseline agent asks what an untouched agent asks.
        Raises AgentError if the provider does not accept the agent's words: too long, or refused in a request that
        passes with other words in their place. Otherwise an agent could void the tasks that it fails.
        """
        if role == AGENT:
            return self.complete_for_agent(request, lambda: self._checked(request))
        return self._calls.patiently(role, lambda: self._complete(role, request))

    def _complete(self, role: str, request: Request) -> Response:
        try:
            return self._calls.ask(role, request)
        except ProviderFault as fault:
            self._check_arguments(role, request, request, fault)
            self._check_template(role, request, fault)
            is_about_words = role == USER and not fault.context_overflow and self._is_about_the_words(request, fault)
            if not fault.alone and not is_about_words:
                raise self._blamed(role, request, fault) from fault
        try:  # it may be over by now: a limit that others passed, a short refusal
            return self._calls.ask(role, request)
        except ProviderFault as fault:
            if is_about_words:
                raise AgentError(f"the {role}'s provider refused what the agent said: {fault}") from fault
            raise self._blamed(role, request, fault) from fault

    def _blamed(self, role: str, request: Request, fault: ProviderFault) -> SimulationError:
        if fault.context_overflow:
            return self._too_long(role, with_harmless_words(request) if role == USER else hello(request), fault)
        return self._infrastructure(role, request, fault)

    def _is_about_the_words(self, request: Request, fault: ProviderFault) -> bool:
        """Whether the user simulator's provider answers if the agent has said something harmless."""
        return _may_be_about_words(fault) and self._calls.takes(USER, with_harmless_words(request))

    def complete_for_agent(self, request: Request, pristine: Callable[[], Request]) -> Response:
        """Answer the agent. Raises AgentError if the request is at fault, otherwise ProviderError.

        `pristine` makes the request that the untouched template would send now: if the provider accepts that one
        but refuses the agent's (a 4xx), or fails on it again and again, the fault is the agent's.
        """
        request = self._checked(request)
        self._calls.pristine = lambda: self._with_arguments(pristine())
        with self._agents_turn:
            self._calls.spend_one()
        instead_of = self._calls.note_made(request)
        try:
            return self._calls.patiently(AGENT, lambda: self._complete_for_agent(request, pristine, instead_of))
        except Refused as refusal:
            self._calls.note_refusal(request, str(refusal))
            raise

    def _complete_for_agent(self, request: Request, pristine: Callable[[], Request], instead_of: str) -> Response:
        try:
            with self._agents_turn:
                return self._calls.ask(AGENT, request, True, instead_of)
        except ProviderFault as fault:
            self._check_arguments(AGENT, request, self._with_arguments(pristine()), fault)
            self._check_template(AGENT, self._with_arguments(pristine()), fault)
            if fault.context_overflow:
                raise self._too_long(AGENT, self._with_arguments(pristine()), fault) from fault
            if not self._is_about(request, pristine(), fault):
                raise self._infrastructure(AGENT, request, fault) from fault
            return self._once_more(request, pristine, instead_of)

    def _too_long(self, role: str, request: Request, fault: ProviderFault) -> SimulationError:
        """The error of a conversation that is too long: the agent's, unless the opening is refused too.

        An error may only sound like that: then the opening fails in other words, and it is the provider's.
        """
        if role not in self._openings_taken and (refusal := self._calls.fault_of(role, opening(request))):
            if refusal.context_overflow and role != JUDGE:
                return _too_small(role, refusal)
            return _ERRORS[role](str(fault), retryable=True)
        self._openings_taken.add(role)  # it costs a call to know
        figures = context_figures(fault.said)
        why = f"{figures}: {fault}" if figures else str(fault)
        if role != AGENT:
            return AgentError(f"the conversation is too long for the {role}'s model, with what the agent said: {why}")
        return Refused(f"the conversation is too long for the model: {why}")

    def _is_about(self, request: Request, pristine: Request, fault: ProviderFault) -> bool:
        """Whether the provider, which failed on the agent's request, accepts the pristine one.

        If it refuses both: whether it accepts that one without what the agent said earlier, even in tool calls.
        """
        pristine = self._with_arguments(pristine)
        if not _may_be_about_words(fault):
            return False
        shared = {name: value for name, value in pristine.items() if name in _SAID or request.get(name) == value}
        for likewise in (pristine, shared) if shared != pristine else (pristine,):
            if request != likewise and self._calls.takes(AGENT, likewise):
                return True
        may_repeat = fault.status_code in REFUSED or fault.is_mute  # all else was retried
        probes = [probe for probe in self._without_own_words(shared) if may_repeat or probe != request]
        return any(self._calls.takes(AGENT, probe) for probe in probes)

    def _without_own_words(self, request: Request) -> list[Request]:
        """The request without what the agent said, and another one with what the provider wants back."""
        plain, whole = without_own_words(request), without_own_words(self._calls.fields[AGENT].harmless(request))
        return [plain] if plain == whole else [plain, whole]

    def _check_arguments(self, role: str, request: Request, pristine: Request, fault: ProviderFault) -> None:
        """Raises InfrastructureError if the model refuses an argument as the experiment has it, whatever is said.

        A greeting has to be refused in such words too: an agent can bring any words into an error's text.
        """
        as_configured = {name: value for name, value in request.items() if pristine.get(name) == value}
        if fault.status_code not in _ABOUT_ARGUMENTS or not (named := _first_named(as_configured, fault.said)):
            return
        again = self._calls.fault_of(role, hello(pristine))
        argument = {named: pristine.get(named)}
        if not again or again.status_code not in _ABOUT_ARGUMENTS or not _first_named(argument, again.said):
            return
        without = self._calls.fault_of(role, {key: one for key, one in hello(pristine).items() if key != named})
        if not without or not _first_named(argument, without.said):  # otherwise the error says that of everything
            self.refused[role] = named, str(again) if _first_named(argument, str(again)) else again.said
            raise _ERRORS[role](str(again), retryable=False)

    def _check_template(self, role: str, pristine: Request, fault: ProviderFault) -> None:
        """Raises InfrastructureError if the model's chat template refuses the beginning of every conversation."""
        if not fault.of_template:
            return
        again = self._calls.fault_of(role, with_harmless_words(opening(pristine)))
        if again and again.of_template:
            self.refused[role] = "", again.said
            raise _ERRORS[role](str(again), retryable=False)

    def _once_more(self, request: Request, pristine: Callable[[], Request], instead_of: str) -> Response:
        """Try again after a failure, although the provider accepted another request.

        The failure may be over by now: even a proxy says 404 for a moment. If it is not, the agent is at fault:
        otherwise it could void failing trials by requests that break a client library or take for ever.
        """
        try:
            with self._agents_turn:
                return self._calls.ask(AGENT, request, True, instead_of)
        except ProviderFault as fault:
            if not self._is_about(request, pristine(), fault):
                raise self._infrastructure(AGENT, request, fault) from fault
            why = "the provider fails on the agent's request again and again, and takes another one"
            if fault.status_code in REFUSED:
                why = "the provider refused the agent's request twice, and takes another one"
            raise Refused(f"{why}: {fault}") from fault

    def _checked(self, request: Request) -> Request:
        """The request with the experiment's model and effort. Raises AgentError if it asks for something else."""
        request = self._without_fixed(request)
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

    def _without_fixed(self, request: Request) -> Request:
        """Without arguments that the agent passes on as the experiment has them; with others it is refused."""
        if not isinstance(request, dict):
            return request
        fixed = beyond_schema(self._arguments)
        return {name: one for name, one in request.items() if name not in fixed or one not in (None, fixed[name])}

    def _with_arguments(self, request: Request) -> Request:
        """The request with the arguments that the experiment, not the agent, chooses."""
        effort = {"reasoning_effort": self._effort} if self._effort else {}
        return self._with_seed(request) | effort | beyond_schema(self._arguments)

    def _with_seed(self, request: Request) -> Request:
        """The request with the trial's seed. No agent is told it: it would tell which trial this is."""
        if self._seed is None or "seed" in request:
            return request
        last = ("tools", "tool_choice")  # its place when agents passed it on: cached answers depend on the order
        before = {key: value for key, value in request.items() if key not in last}
        return before | {"seed": self._seed} | {key: request[key] for key in last if key in request}

    def _infrastructure(self, role: str, request: Request, fault: ProviderFault) -> InfrastructureError:
        """The role's error. It is known by now whether the model was down, but for refusals: those are checked."""
        is_back = fault.status_code in REFUSED and self._calls.is_back(role, request, time.monotonic())
        return _ERRORS[role](str(fault), retryable=fault.retryable or is_back)


def _may_be_about_words(fault: ProviderFault) -> bool:
    """Whether the provider may answer other words. One that refuses the account refuses everything."""
    if fault.alone:  # others pass: this request has a limit of its own
        return True
    if fault.status_code in ABOUT_THE_ACCOUNT:
        return fault.status_code == HTTPStatus.FORBIDDEN  # a firewall forbids words too
    return fault.status_code in REFUSED or fault.retryable or fault.is_mute


def _first_named(arguments: Mapping[str, Any], text: str) -> str:
    """The first of the arguments that an error's text names; empty if it names none."""
    for name, value in arguments.items():
        names = [name, *_WORDS.get(name, ()), *(value if isinstance(value, dict) else ())]
        if name not in (*_SAID, "seed") and any(_is_named(one, text) for one in names):
            return name
    return ""


def _is_named(name: str, text: str) -> bool:
    """Whether the text has the name, written in any way: top_k, top-k, topK, reasoning.effort."""
    written = "[-_. ]?".join(map(re.escape, str(name).split("_")))
    return bool(re.search(rf"(?<![a-zA-Z0-9]){written}(?![a-zA-Z0-9])", text, re.IGNORECASE))


def _too_small(role: str, fault: ProviderFault) -> ContextTooSmall:
    what = f"the context of the {role}'s model is too small for this task, before the agent has said anything"
    figures = context_figures(fault.said)
    why = f" ({figures})" if figures else ""
    how = "give its server a longer one, or take another model"
    return ContextTooSmall(f"{what}{why}: {how}: {fault}", retryable=False)
