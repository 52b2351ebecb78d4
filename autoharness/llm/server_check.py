"""`prepare.py --check --ask`: asks each configured model a few short questions, and says what is in order."""

import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from autoharness.core.outcomes import CUT_OFF, NO_SERVER, ROLES
from autoharness.core.redaction import one_line
from autoharness.core.settings import Experiment
from autoharness.llm.completion import LIMITS, Heard, limit_of, says_something
from autoharness.llm.providers import TIMED_OUT, ProviderFault, Providers, Response
from autoharness.llm.refusals import context_figures
from autoharness.llm.server_forms import Bounded, Templated

Json = dict[str, Any]

OK, FAIL, NOTE = "ok", "FAIL", "note"
_LONGEST_S, _LONGEST_LOOK_S = 60.0, 5.0
_LARGEST_LOOK, _MOST_CHARS = 10**6, 300
_REFUSED = (400, 422)
_SEED = 748_392_061
_WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
_MENDS = {
    401: "set {role}_api_key_name, and the key in .env",
    403: "set {role}_api_key_name, and the key in .env",
    402: "see your account with the provider",
    404: "correct {role}_url or {role}_model",
    503: "wait until it has started, and ask again",
    429: "wait, or see your account with the provider",
    TIMED_OUT: "raise llm_timeout_s, or take a faster server or model",
}
_MENDS_BY_WORDS = {
    "wrong version number": "correct {role}_url: http:// instead of https://",
    "record layer failure": "correct {role}_url: http:// instead of https://",
    NO_SERVER.lower(): "start it, or correct {role}_url",
    "not a chat completion": "correct {role}_url: something else answers there",
    "<html": "correct {role}_url: something else answers there",
    "--enable-auto-tool-choice": "start its server with --enable-auto-tool-choice and --tool-call-parser",
    "--jinja": "start its server with --jinja",
    "not support tools": "take a model, or a chat template, that takes tools",
}
"""In this order; small letters."""


@dataclass(frozen=True)
class Found:
    """One answer: how `--check` shows it."""

    state: str
    what: str
    """Such as "agent: tools"."""
    detail: str
    mend: str = ""


def found_by_asking(experiment: Experiment, providers: Providers, policy: str, tools: Sequence[Json]) -> list[Found]:
    """One for each answer. `policy` and `tools`: what the agent of the experiment is given.

    Models that are programs of ours or recordings are not asked, and a model that two roles share is asked once.
    """
    found: list[Found] = []
    asked: dict[str, str] = {}
    for role in ROLES:
        if experiment.model_of(role) not in experiment.provider_models:
            continue
        asking = _Asking(experiment, providers, role)
        if asking.key in asked:
            found.append(
                Found(NOTE, f"{role}: server", f"the {asked[asking.key]}'s, asked in the same way: see there")
            )
            continue
        asked[asking.key] = role
        found += asking.all(policy, list(tools) if role == ROLES[0] else [])
    return found


class _Asking:
    """The questions to one role's model."""

    def __init__(self, experiment: Experiment, providers: Providers, role: str) -> None:
        given = getattr(experiment, f"{role}_llm_args")
        self._args: Json = {"temperature": 0.0} if given is None else dict(given)
        if role == ROLES[0] and experiment.reasoning_effort:
            self._args["reasoning_effort"] = experiment.reasoning_effort
        self._role, self._name, self._endpoint = role, experiment.model_of(role), experiment.endpoint_of(role)
        called = providers.model(self._name, min(experiment.llm_timeout_s, _LONGEST_S), 0, self._endpoint)
        model = Templated(Heard(called, role, is_agent=False), role)
        self._model = Bounded(model, role, limit_of(self._args)) if self._endpoint else model
        self._remarks: list[str] = []
        self.key = json.dumps([self._name, str(self._endpoint), self._args], sort_keys=True)

    def all(self, policy: str, tools: list[Json]) -> Iterator[Found]:
        try:
            yield self._speed()
        except ProviderFault as fault:
            yield self._failed("server", fault)
            return
        questions: list[tuple[str, Callable[[], Found]]] = [
            ("conversation", lambda: self._conversation(policy, tools))
        ]
        questions += [("tools", self._tools)] if tools else []
        for what, question in [*questions, ("seed", self._seed)]:
            try:
                yield question()
            except ProviderFault as fault:
                yield self._failed(what, fault)
        yield from (self._found(NOTE, "server", remark) for remark in self._remarks)

    def _ask(self, messages: list[Json], most: int | None = 64, **more: Any) -> Response:
        """`most`: tokens of the answer, None for as many as in a simulation.

        Providers' own models get no limit: some refuse one, some think longer.
        """
        args = {**self._args, **more}
        if self._endpoint and most:
            kept = {name: value for name, value in args.items() if name not in LIMITS}
            args = kept | {next((name for name in LIMITS if args.get(name)), LIMITS[0]): most}
        answer = self._answer({"messages": messages, **args}, most)
        remarks = [one for one in answer.get("remarks", []) if not one.startswith(CUT_OFF)]
        self._remarks += [one for one in remarks if one not in self._remarks]
        return {**answer, "remarks": remarks}

    def _answer(self, request: Json, most: int | None) -> Response:
        """A server's error may be over at once, and a low limit be refused: then the question is asked once more."""
        try:
            return self._model(request)
        except ProviderFault as fault:
            is_refused = bool(most) and fault.status_code in _REFUSED
            if not is_refused and fault.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
        if is_refused:
            request = {name: value for name, value in request.items() if name not in LIMITS}
        return self._model(request)

    def _speed(self) -> Found:
        started = time.monotonic()
        answer = self._ask([_user("Count from 1 to 40, in digits.")], most=128)
        seconds = time.monotonic() - started
        if (unsaid := _unsaid(answer)) and "reasoning" not in unsaid:
            return self._found(FAIL, "server", unsaid, "see what the server's log says")
        tokens = (answer.get("usage") or {}).get("completion_tokens")
        if not tokens:
            return self._found(
                NOTE, "server", f"answers in {seconds:.1f} s, and does not say how many tokens it used"
            )
        return self._found(OK, "server", f"answers; {tokens / seconds:.0f} tokens a second")

    def _conversation(self, policy: str, tools: list[Json]) -> Found:
        """As long as the agent's first request; for the other roles a short one."""
        messages = [_system("You are a customer of a shop."), _user("Hi! How can I help you today?")]
        if tools or self._role == ROLES[0]:
            messages = [_system(policy), _said("Hi! How can I help you today?"), _user("Hello, I need some help.")]
        with_tools: Json = {"tools": tools, "tool_choice": "auto"} if tools else {}
        answer = self._ask(messages, most=None, **with_tools)
        needs, takes = (answer.get("usage") or {}).get("prompt_tokens"), self._context()
        if not needs or not takes:
            return self._found(OK, "conversation", f"its first request is taken: {needs or 'unknown'} tokens")
        detail = f"its first request has {needs} of the {takes} tokens that the server takes for each conversation"
        if needs > takes / 2:
            mend = "tau2's conversations grow by some thousands: give the server a longer context"
            return self._found(NOTE, "conversation", detail, mend)
        return self._found(OK, "conversation", detail)

    def _tools(self) -> Found:
        messages = [_system("Use the tools."), _user("What is the weather in Paris? Call get_weather.")]
        answer = self._ask(messages, most=128, tools=[_WEATHER], tool_choice="auto")
        message = answer["choices"][0]["message"]
        calls = message.get("tool_calls") or []
        if not calls:
            told = (
                "; ".join(answer["remarks"]) or _unsaid(answer) or f"it said: {(message.get('content') or '')[:80]!r}"
            )
            return self._found(NOTE, "tools", f"asked to call a tool, it called none; {told}")
        results = [{"role": "tool", "tool_call_id": call["id"], "content": "18 degrees"} for call in calls]
        said = {"role": "assistant", "content": message.get("content"), "tool_calls": calls}
        self._ask([*messages, said, *results], tools=[_WEATHER], tool_choice="auto")
        return self._found(OK, "tools", "it calls them, and takes their results")

    def _seed(self) -> Found:
        """Large odd seeds: the words of an error are told without the seed."""
        hot: Json = {"temperature": 1.0} if "temperature" in self._args else {}
        wish = [_user("Write ten random English nouns.")]
        try:
            answers = [self._ask(wish, seed=seed, **hot) for seed in (_SEED, _SEED, _SEED + 2)]
        except ProviderFault as fault:
            if fault.status_code not in _REFUSED:
                raise
            return self._unseeded(wish, fault)
        first, again, other = map(_text, answers)
        if not first:
            return self._found(NOTE, "seed", "cannot be told: the answers had no words within 64 tokens")
        if first != again:
            return self._found(OK, "seed", "not kept: the same seed gives other words")
        kept = "kept: the same words again" if first != other else "cannot be told: any seed gives the same words"
        return self._found(OK, "seed", kept)

    def _unseeded(self, wish: list[Json], fault: ProviderFault) -> Found:
        """What a refusal means: of the seed, or of this question's own temperature."""
        try:
            self._ask(wish, seed=_SEED)
        except ProviderFault:
            mend = "take a server that takes one: each request of a simulation has one"
            return self._found(FAIL, "seed", f"the server takes no seed: {_shortly(fault)}", mend)
        return self._found(NOTE, "seed", f"cannot be told: it refuses temperature 1: {_shortly(fault)}")

    def _failed(self, what: str, fault: ProviderFault) -> Found:
        detail = _shortly(fault)
        if figures := context_figures(fault.said) if fault.context_overflow else "":
            detail = f"{figures}: {detail}"
        is_name = fault.status_code in (*_REFUSED, 404)
        if is_name and (names := self._served()) and self._name not in names:
            detail = f"{detail}; it serves {', '.join(names[:5])}"
            return self._found(FAIL, what, detail, f"correct {self._role}_model")
        return self._found(FAIL, what, detail, self._mend(fault))

    def _mend(self, fault: ProviderFault) -> str:
        said, role = f"{fault} {fault.said}".lower(), self._role
        for words, mend in _MENDS_BY_WORDS.items():
            if words in said:
                return mend.format(role=role)
        if fault.of_template:
            return (
                "start its server with another one (vLLM, SGLang: --chat-template, llama.cpp: --chat-template-file)"
            )
        if fault.context_overflow:
            return "give its server a longer context, or take another model"
        if fault.status_code in _REFUSED and self._is_about_arguments():
            return f"change {role}_llm_args" + (" or reasoning_effort" if "reasoning_effort" in self._args else "")
        return _MENDS.get(fault.status_code, "see what the server's log says").format(role=role)

    def _is_about_arguments(self) -> bool:
        """Whether the model answers without the configured arguments."""
        with suppress(ProviderFault):
            self._model({"messages": [_user("Say yes.")]})
            return bool(self._args)
        return False

    def _served(self) -> list[str]:
        """The names of the server's models; empty if it does not tell."""
        with suppress(AttributeError, KeyError, TypeError):
            return [one_line(str(one["id"]), 80) for one in self._look("/models")["data"]]
        return []

    def _context(self) -> int:
        """The tokens that the server takes for one conversation; 0 if it does not tell."""
        with suppress(AttributeError, KeyError, TypeError, ValueError, IndexError):
            for one in self._look("/models")["data"]:
                if one["id"] == self._name and one.get("max_model_len"):  # vLLM, SGLang
                    return int(one["max_model_len"])
        with suppress(AttributeError, KeyError, TypeError, ValueError):
            return int(self._look("/../props")["default_generation_settings"]["n_ctx"])  # llama.cpp
        return 0

    def _look(self, path: str) -> Any:
        """What the server says there; None if it says nothing that can be read."""
        import httpx  # loaded only if servers are asked

        if not self._endpoint:
            return None
        url, headers = self._endpoint.url, {"Authorization": f"Bearer {self._endpoint.key}"}
        if path.startswith("/.."):
            url, path = url.removesuffix("/v1"), path.removeprefix("/..")
        body, until = b"", time.monotonic() + _LONGEST_LOOK_S
        with suppress(httpx.HTTPError, ValueError):
            with httpx.stream("GET", url + path, headers=headers, timeout=_LONGEST_LOOK_S) as answer:
                for part in answer.iter_bytes():
                    body += part
                    if time.monotonic() > until or len(body) > _LARGEST_LOOK:
                        return None
            return json.loads(body)
        return None

    def _found(self, state: str, what: str, detail: str, mend: str = "") -> Found:
        return Found(state, f"{self._role}: {what}", detail, mend)


def _shortly(fault: ProviderFault) -> str:
    """One line; a page of HTML without its marks."""
    return one_line(re.sub(r"<[^<>]*>", " ", str(fault)), _MOST_CHARS)


def _unsaid(answer: Response) -> str:
    """Why an answer has neither words nor tool calls; empty if it has."""
    if says_something(answer["choices"][0]["message"]):
        return ""
    used = (answer.get("usage") or {}).get("completion_tokens") or "all"
    if answer["choices"][0].get("finish_reason") == "length":
        return f"it used its {used} tokens for reasoning"
    return "it answers without a word"


def _system(text: str) -> Json:
    return {"role": "system", "content": text}


def _user(text: str) -> Json:
    return {"role": "user", "content": text}


def _said(text: str) -> Json:
    return {"role": "assistant", "content": text}


def _text(answer: Response) -> str:
    return (answer["choices"][0]["message"].get("content") or "").strip()
