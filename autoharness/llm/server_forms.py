"""Requests in a form that a server takes, and that has an end. Both belong to one role of one trial.

`Templated`: tau2's conversations begin with the assistant's greeting. The chat templates of some models (Mistral's
and Gemma's kind) want a user's message first, then both in turn, or know no system prompt: the server answers with an
error. Such a request is asked again in other roles, with the same words, if a harmless one is refused too.

`Bounded`: a model may repeat itself without end, and the user's own server does not stop it. So answers have a limit.

What a model gets depends on the request and its server, and the outcome has a note.
"""

import json
import math
from http import HTTPStatus
from typing import Any

from autoharness.core.outcomes import CUT_OFF, OTHER_ROLES, ROLES
from autoharness.llm.completion import LIMITS, limit_of
from autoharness.llm.probe_requests import opening, with_harmless_words
from autoharness.llm.providers import TIMED_OUT, Model, ProviderFault, Request, Response
from autoharness.llm.refusals import template_words

Json = dict[str, Any]

_NO_STATUS = -1
_REFUSED = (400, 413, 422)
MOST_TOKENS = 8192
"""The limit of an answer by the user's own server, if neither agent nor `..._llm_args` sets one: see `Bounded`."""
_SHORTER = 1024
_FEW_TOKENS = 16
_TOOL = {
    "type": "function",
    "function": {"name": "look_up", "description": "", "parameters": {"type": "object", "properties": {}}},
}
_GREETED = {"role": "user", "content": "Hello."}
_FORMS = (
    "",
    'a user\'s "Hello." before the greeting, and one message for several of one role in a row',
    "the system prompt as a user's message",
)


class Templated:
    """A provider's model whose chat template may refuse roles; for one role of one trial.

    A harmless opening decides whether the template is why a request fails, and which form is taken: no words of
    an error do, since an agent can bring any into it, and a failure that is soon over has to stay a failure.
    """

    def __init__(self, model: Model, role: str) -> None:
        self._model = model
        self._role = role
        self._forms: dict[str, int] = {}
        """By the harmless opening: the form that the template takes."""
        self._failed: Request | None = None
        """The last request that a server's error met which says nothing of the template."""

    def __call__(self, request: Request) -> Response:
        """Raises ProviderFault; it is `of_template` if it says that the template refuses the roles."""
        harmless = _harmless_opening(request, self._role)
        key = json.dumps(harmless["messages"] + harmless.get("tools", []))
        try:
            return self._asked(request, self._forms.get(key, 0))
        except ProviderFault as fault:
            if key in self._forms or not self._may_be_of_template(fault, request):
                raise self._named(fault) from None
            form = self._form_taken(harmless, key, fault.status_code)
            if not form:
                raise self._named(fault) from None
        try:
            return self._asked(request, form)
        except ProviderFault as fault:
            raise self._named(fault) from None

    def _asked(self, request: Request, form: int) -> Response:
        answer = self._model({**request, "messages": in_form(form, request["messages"])})
        if not form:
            return answer
        what = f"{OTHER_ROLES}: the {self._role}'s model gets {_FORMS[form]}"
        return {**answer, "remarks": [*answer.get("remarks", []), what]}

    def _may_be_of_template(self, fault: ProviderFault, request: Request) -> bool:
        """A server's error that says nothing of it has one plain further try first."""
        if fault.context_overflow:
            return False
        if fault.status_code in _REFUSED or template_words(fault.status_code, fault.said):
            return True
        failed, self._failed = self._failed, request
        return fault.status_code == HTTPStatus.INTERNAL_SERVER_ERROR and request == failed

    def _form_taken(self, harmless: Request, key: str, status: int) -> int:
        """The form that the template takes instead of the request as it is; 0 if that is taken, or none is."""
        messages = harmless["messages"]
        others = [form for form in range(1, len(_FORMS)) if in_form(form, messages) != messages]
        if not others or not self._status_of(harmless, 0):
            self._forms[key] = 0
            return 0
        for form in others:
            if not self._status_of(harmless, form) and self._status_of(harmless, 0) == status:
                self._forms[key] = form
                return form
        if status in _REFUSED:
            self._forms[key] = 0
        return 0

    def _status_of(self, harmless: Request, form: int) -> int:
        """The status code of the failure; 0 if the request is answered."""
        try:
            self._asked(harmless, form)
        except ProviderFault as fault:
            return fault.status_code or _NO_STATUS
        return 0

    def _named(self, fault: ProviderFault) -> ProviderFault:
        if not fault.context_overflow and template_words(fault.status_code, fault.said):
            fault.args = (f"the chat template of the {self._role}'s model refuses the conversation: {fault}",)
            fault.of_template = True
        return fault


def _harmless_opening(request: Request, role: str) -> Request:
    """The roles of a request, with nothing in it that an agent may choose, and no argument that may be refused."""
    messages = with_harmless_words(opening(request))["messages"]
    if role == ROLES[0]:
        messages = [{"role": one["role"], "content": "Hello."} for one in messages if one["role"] != "tool"]
    limits = {name: _FEW_TOKENS for name in LIMITS if request.get(name)}
    tools = {"tools": [_TOOL]} if request.get("tools") else {}
    return {"messages": messages, **tools, **limits}


def in_form(form: int, messages: list[Json]) -> list[Json]:
    """The messages with the same words in other roles: 1 begins with a user, 2 has no system prompt either."""
    if form > 1:
        messages = [{**one, "role": "user"} if one["role"] == "system" else one for one in messages]
    if not form:
        return messages
    start = next((place for place, one in enumerate(messages) if one["role"] != "system"), len(messages))
    begins = [_GREETED] if start < len(messages) and messages[start]["role"] == "assistant" else []
    merged: list[Json] = []
    for message in [*messages[:start], *begins, *messages[start:]]:
        if merged and _is_text(message) and _is_text(merged[-1]) and message["role"] == merged[-1]["role"]:
            merged[-1] = {**message, **merged[-1], "content": f"{merged[-1]['content']}\n\n{message['content']}"}
        else:
            merged.append(message)
    return merged


def _is_text(message: Json) -> bool:
    return message["role"] != "tool" and isinstance(message.get("content"), str) and not message.get("tool_calls")


class Bounded:
    """A model on the user's own server, whose answers end.

    A server that refuses a request with our limit, or with the experiment's, is asked without: vLLM does so if the
    prompt leaves less room. An answer that takes too long is asked for once more, shorter: the same request
    would take as long again. If that one has no end either, the rest of the trial is asked for short answers alone.
    """

    def __init__(self, model: Model, role: str, configured: float) -> None:
        """`configured`: the most tokens of an answer by the experiment's arguments."""
        self._model = model
        self._role = role
        self._ours = configured if 0 < configured < math.inf else MOST_TOKENS
        self._most = max(self._ours, MOST_TOKENS)

    def __call__(self, request: Request) -> Response:
        """Raises ProviderFault."""
        asked = _limited(request, self._most)
        try:
            return self._model(asked)
        except ProviderFault as fault:
            if fault.status_code == TIMED_OUT and limit_of(asked) > _SHORTER:
                return self._shorter(request, fault)
            may_be_the_limit = fault.context_overflow or fault.status_code in _REFUSED
            if not may_be_the_limit or limit_of(asked) < min(self._ours, self._most):
                raise  # a lower limit is the agent's own
        return self._model({name: value for name, value in asked.items() if name not in LIMITS})

    def _shorter(self, request: Request, timed_out: ProviderFault) -> Response:
        try:
            answer = self._model(_limited(request, _SHORTER))
        except ProviderFault as fault:
            if fault.status_code == TIMED_OUT:
                self._most, fault.waited = _SHORTER, True
            raise
        if answer["choices"][0].get("finish_reason") != "length":
            return answer
        self._most = _SHORTER
        what = (
            f"{CUT_OFF}: the {self._role}'s LLM: {timed_out}: from then on it was asked for {_SHORTER} tokens at most"
        )
        return {**answer, "remarks": [*answer.get("remarks", []), what]}


def _limited(request: Request, most: float) -> Request:
    """Each of the limits by itself: servers differ in which one counts."""
    limits = {name: request[name] for name in LIMITS if request.get(name) is not None} or {LIMITS[0]: most}
    return {**request, **{name: min(value, most) if value > 0 else most for name, value in limits.items()}}
