"""Requests in a form that a server takes, and that has an end. Both belong to one role of one trial.

`Templated`: tau2's conversations begin with the assistant's greeting. The chat templates of some models (Mistral's
and Gemma's kind) want a user's message first, then both in turn, or know no system prompt: the server answers with an
error. Such a request is asked again in other roles, with the same words.

`Bounded`: a model may repeat itself without end, and a server of one's own lets it. So its answers have a limit.

What a model gets depends on the request and its server, and the outcome has a note.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from autoharness.core.outcomes import CUT_OFF, OTHER_ROLES
from autoharness.llm.completion import LIMITS, limit_of
from autoharness.llm.providers import TIMED_OUT, Model, ProviderFault, Request, Response
from autoharness.llm.refusals import template_words

Json = dict[str, Any]
_Roles = tuple[str, ...]

_BAD_REQUEST = 400
_REFUSED = (400, 413, 422)
MOST_TOKENS = 8192
"""Of one answer of a server of one's own, if neither the agent nor `..._llm_args` says less: see `Bounded`."""
_SHORTER = 1024
_ABOUT_LENGTH = re.compile("token|context|length", re.IGNORECASE)
_GREETED = {"role": "user", "content": "Hello."}
_FORMS = (
    "",
    'a user\'s "Hello." before the greeting, and one message for several of one role in a row',
    "the system prompt as a user's message",
)


class Templated:
    """A provider's model whose chat template may refuse roles; for one role of one trial."""

    def __init__(self, model: Model, role: str) -> None:
        self._model = model
        self._role = role
        self._taken: dict[_Roles, int] = {}
        """By roles that were refused: the form that was taken. Longer conversations with this beginning are too."""

    def __call__(self, request: Request) -> Response:
        """Raises ProviderFault; it is `of_template` if the template refuses every form."""
        refusal = None
        for form, asked in self._forms(request):
            try:
                answer = self._model(asked)
            except ProviderFault as fault:
                if not _is_of_template(fault, request):
                    raise
                refusal = refusal or fault
                continue
            return self._noted(answer, request, form)
        assert refusal
        raise self._of_template(refusal)

    def _forms(self, request: Request) -> Iterator[tuple[int, Request]]:
        """From the form on that was taken before, the different ones; the first is the request itself."""
        roles, made = _roles(request), []
        known = max((form for refused, form in self._taken.items() if roles[: len(refused)] == refused), default=0)
        for form in range(known, len(_FORMS)):
            asked = {**request, "messages": in_form(form, request["messages"])}
            if asked not in made:
                made.append(asked)
                yield form, asked

    def _noted(self, answer: Response, request: Request, form: int) -> Response:
        if not form:
            return answer
        self._taken.setdefault(_roles(request), form)
        what = f"{OTHER_ROLES}: the {self._role}'s model gets {_FORMS[form]}"
        return {**answer, "remarks": [*answer.get("remarks", []), what]}

    def _of_template(self, refusal: ProviderFault) -> ProviderFault:
        """Whatever its status: a further try is refused too."""
        what = f"the chat template of the {self._role}'s model refuses the conversation"
        fault = ProviderFault(f"{what}: {refusal}", _BAD_REQUEST)
        fault.said, fault.of_template = refusal.said, True
        return fault


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
            merged[-1] = {**merged[-1], "content": f"{merged[-1]['content']}\n\n{message['content']}"}
        else:
            merged.append(message)
    return merged


def _is_text(message: Json) -> bool:
    return message["role"] != "tool" and isinstance(message.get("content"), str) and not message.get("tool_calls")


def _roles(request: Request) -> _Roles:
    return tuple(f"{one['role']}{' calls' if one.get('tool_calls') else ''}" for one in request["messages"])


def _is_of_template(fault: ProviderFault, request: Request) -> bool:
    """Whether the template refuses the roles: in words of the server's own, since some repeat what they were sent."""
    words = "" if fault.context_overflow else template_words(fault.status_code, fault.said)
    return bool(words) and words not in json.dumps(request["messages"], ensure_ascii=False).lower()


class Bounded:
    """A model on the user's own server, whose answers end.

    An answer that takes too long is asked for once more, shorter: the same request would take as long again. If that
    one has no end either, the rest of the trial is asked for short answers alone.
    """

    def __init__(self, model: Model, role: str, configured: float) -> None:
        """`configured`: the most tokens of an answer by the experiment's arguments."""
        self._model = model
        self._role = role
        self._most = configured if MOST_TOKENS < configured < math.inf else MOST_TOKENS

    def __call__(self, request: Request) -> Response:
        """Raises ProviderFault."""
        asked = _limited(request, self._most)
        try:
            return self._model(asked)
        except ProviderFault as fault:
            if fault.status_code == TIMED_OUT and limit_of(asked) > _SHORTER:
                return self._shorter(request, fault)
            if asked == request or fault.status_code not in _REFUSED or not _ABOUT_LENGTH.search(fault.said):
                raise
        answer = self._model(request)
        self._most = math.inf  # the server refuses it: vLLM does so if the prompt does not leave as much room
        return answer

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
    if math.isinf(most) or 0 < limit_of(request) <= most:
        return request
    limits = {name: request[name] for name in LIMITS if request.get(name) is not None} or {LIMITS[0]: most}
    return {**request, **{name: min(value, most) if value > 0 else most for name, value in limits.items()}}
