"""The offline model: an agent's LLM, a user simulator and a judge that are programs: the loop runs with no key.

    offline/clerk            knows the reference actions of the task at hand, and makes typed `offline_mistakes`
    offline/faultless-clerk  the same clerk without mistakes
    offline/customer         says what the task's customer wants, and does on the phone what the clerk asks for
    offline/judge            looks for what should have been said

It is a simulation, for demonstrations, tests and measuring the gate; nothing that it gives is a benchmark result.
What it is and is not: docs/offline.md.

A reply follows from the request, the task and the trial's seed. How far a conversation has got is read from the
messages that the request holds: what an agent file does not show to the clerk, the clerk does not know. Only one
thing is remembered beside the messages: which catchable mistakes were made, so that asking again helps.
"""

import ast
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from autoharness.core.outcomes import digest
from autoharness.core.settings import OFFLINE
from autoharness.core.tasks import Script, Step
from autoharness.llm import offline_mistakes
from autoharness.llm.call_journal import Journal
from autoharness.llm.calls import AGENT, JUDGE
from autoharness.llm.offline_mistakes import Mistake, Prompt
from autoharness.llm.providers import Model, ProviderFault, Request, Response

Json = dict[str, Any]

_FAULTLESS = "faultless-clerk"
_TRANSFER = "transfer_to_human_agents"
_STEP = re.compile(r"\[step (\d{1,4})\]")
_GO_AHEAD = "Shall I go ahead (yes or no)?"
_ANYTHING_ELSE = "Is there anything else that I can do for you?"
_BEING_TRANSFERRED = "You are being transferred to a human agent."
_PATIENCE = 25
_MISTAKE = "mistake"
"""The field of a completion that names the catchable mistake in it. No agent is shown it."""
_USER_ID = re.compile(r"\b[a-z]+_[a-z]+_\d{4}\b")
_FORBIDDEN: dict[str, tuple[str, Json]] = {
    "airline": ("send_certificate", {"amount": 100}),
    "retail": (
        "modify_user_address",
        {
            "address1": "1 Main Street",
            "address2": "",
            "city": "Springfield",
            "state": "IL",
            "country": "USA",
            "zip": "62701",
        },
    ),
}
"""By domain: something that the policy does not allow without a reason, and that always works."""


BEHAVIOUR = "cf4175cf3b2132be132ee038c11b321b847ad95b7c2d3bd4d5d22cac61f902f6"
"""Stands for what the model does in the key of every trial: another value, and nothing in a vault is used again.

A test says when it has to change. It is the SHA-256 of the two files in which the model was when this was written."""


def model(role: str, name: str, script: Script, seed: int, journal: Journal) -> Model:
    """The model that plays `role` in one trial of one task. `name` is one that `settings` lets pass.

    `journal`: the trial's, which holds the model's earlier answers.
    """
    if role == AGENT:
        return Clerk(script, seed, journal, faultless=name == OFFLINE + _FAULTLESS)
    return _judge if role == JUDGE else Customer(script)


class Clerk:
    """Plays the agent's LLM in one trial."""

    def __init__(self, script: Script, seed: int, journal: Journal | None = None, faultless: bool = False) -> None:
        """`journal`: see `model`; without one no mistake is known to have been made."""
        self._script = script
        self._seed = seed
        self._journal = journal or Journal()
        self._faultless = faultless

    def __call__(self, request: Request) -> Response:
        try:
            seen = _Conversation(request)
            reply = self._reply(seen, Prompt.read(tuple(seen.system), self._script.policy))
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            # it comes from the agent: anything goes
            raise ProviderFault(f"offline/clerk cannot read the request: {error!r}", 400) from error
        made = reply.pop(_MISTAKE, None)
        return _completion(reply) | ({_MISTAKE: made} if made else {})

    def _reply(self, seen: "_Conversation", prompt: Prompt) -> Json:
        if not seen.user_texts:
            return _text("Hello, what can I do for you?")
        if self._slips(offline_mistakes.EMPTY, prompt):
            return _mistaken(offline_mistakes.EMPTY, _text(""))
        if seen.just_called == _TRANSFER and self._may_give_up:
            return _text(_BEING_TRANSFERRED)
        if seen.just_failed_at_something_else(self._script.steps):
            return _text(f"I am sorry, the system does not let me do that. {_ANYTHING_ELSE}")
        number, step = self._next(seen, prompt)
        return self._close(prompt) if step is None else self._do(number, step, seen, prompt)

    def _next(self, seen: "_Conversation", prompt: Prompt) -> tuple[int, Step | None]:
        """The first step that the conversation does not show as done."""
        made = Counter(seen.calls)
        for number, step in self._steps(prompt):
            signature = _signature(step.name, step.arguments)
            if step.requestor == "user":
                if number not in seen.reported:
                    return number, step
            elif made[signature]:
                made[signature] -= 1
            else:
                return number, step
        return -1, None

    def _steps(self, prompt: Prompt) -> list[tuple[int, Step]]:
        """What the clerk means to do, by number."""
        steps = list(enumerate(self._script.steps))
        decisive = [number for number, step in steps if step.decisive]
        if (decisive and self._happens(offline_mistakes.SLIP, prompt)) or (
            len(decisive) > 1 and self._happens(offline_mistakes.FORGETS, prompt)
        ):
            steps = [one for one in steps if one[0] != decisive[-1]]
        forbidden = self._forbidden()
        if forbidden and self._happens(offline_mistakes.YIELDS, prompt):
            steps.append((len(steps), forbidden))
        return steps

    def _do(self, number: int, step: Step, seen: "_Conversation", prompt: Prompt) -> Json:
        if step.decisive and self._may_give_up and self._happens(offline_mistakes.GIVES_UP, prompt):
            return _call(seen, _TRANSFER, {"summary": "The customer needs help from a human agent."})
        if step.decisive and self._slips(offline_mistakes.CLAIMS, prompt):
            return _mistaken(offline_mistakes.CLAIMS, _text(f"That is done now. {_ANYTHING_ELSE}"))
        if step.requestor == "user":
            return _text(f"Please do this on your phone: {_spoken(step)} [step {number}]")
        if self._slips(offline_mistakes.MALFORMED, prompt):
            return _mistaken(offline_mistakes.MALFORMED, _call(seen, step.name, step.arguments, cut=True))
        if step.decisive:
            return self._do_what_counts(step, seen, prompt)
        return _call(seen, step.name, step.arguments)

    def _do_what_counts(self, step: Step, seen: "_Conversation", prompt: Prompt) -> Json:
        if not any(_GO_AHEAD in text for text in seen.own_texts):
            return _text(f"This is what I would do: {_spoken(step)}. {_GO_AHEAD}")
        if self._slips(offline_mistakes.UNKNOWN_TOOL, prompt):
            return _mistaken(offline_mistakes.UNKNOWN_TOOL, _call(seen, f"functions.{step.name}", step.arguments))
        if (guessed := _with_wrong_identifier(step)) and self._happens(offline_mistakes.GUESSES, prompt):
            if seen.was_told_after_failing:
                return _call(seen, step.name, step.arguments)
            return _call(seen, step.name, guessed)
        return _call(seen, step.name, step.arguments)

    def _close(self, prompt: Prompt) -> Json:
        facts = "" if self._happens(offline_mistakes.WITHHOLDS, prompt) else "; ".join(self._script.to_say)
        told = f" For your records: {facts}." if facts else ""
        return _text(f"Everything that you asked for is taken care of.{told} {_ANYTHING_ELSE}")

    @property
    def _may_give_up(self) -> bool:
        """Where handing over is what the task asks for, it is no mistake."""
        return not any(step.name == _TRANSFER for step in self._script.steps)

    def _forbidden(self) -> Step | None:
        """What the clerk grants where the task has nothing to change."""
        known = _USER_ID.search(json.dumps([step.arguments for step in self._script.steps]) + self._script.request)
        tool = _FORBIDDEN.get(self._script.domain)
        if not known or not tool or any(step.decisive for step in self._script.steps):
            return None
        return Step("assistant", tool[0], {"user_id": known[0], **tool[1]}, decisive=False)

    def _slips(self, mistake: Mistake, prompt: Prompt) -> bool:
        """A mistake that code can catch: one that was made in this trial is not made again."""
        made = [answer.get(_MISTAKE) for answer in self._journal.answers_of(AGENT)]
        return mistake.name not in made and self._happens(mistake, prompt)

    def _happens(self, mistake: Mistake, prompt: Prompt) -> bool:
        return not self._faultless and offline_mistakes.happens(mistake, self._script.key, self._seed, prompt)


class Customer:
    """Plays the user simulator's LLM in one trial."""

    def __init__(self, script: Script) -> None:
        self._script = script

    def __call__(self, request: Request) -> Response:
        seen = _Conversation(request)
        return _completion(self._reply(seen))

    def _reply(self, seen: "_Conversation") -> Json:
        """To the customer the clerk is the "user", and its own words are the "assistant"'s."""
        if seen.last["role"] == "tool":
            done = int(seen.last["tool_call_id"].rpartition("_")[2])
            return _text(f"I have done [step {done}]. It says: {_content(seen.last)[:300]}")
        asked = _STEP.search(_content(seen.last))
        if asked and int(asked[1]) < len(self._script.steps):
            step = self._script.steps[int(asked[1])]
            if step.requestor == "user" and len(seen.own_texts) < _PATIENCE:
                return _call(seen, step.name, step.arguments, id=f"step_{asked[1]}")
        return _text(self._answer(_content(seen.last), seen))

    def _answer(self, said: str, seen: "_Conversation") -> str:
        if _BEING_TRANSFERRED in said:
            return "###TRANSFER###"
        if _ANYTHING_ELSE in said:
            return "No, thank you. ###STOP###"
        if len(seen.own_texts) >= _PATIENCE:
            return "This leads nowhere, goodbye. ###STOP###"
        if _GO_AHEAD in said:
            return "Yes, please go ahead."
        return "Please go on." if seen.own_texts else f"Hello. {self._script.request}"


def _judge(request: Request) -> Response:
    """A judge's verdict on each outcome: was it said in the conversation, word for word?"""
    conversation, _, outcomes = _content(request["messages"][-1]).rpartition("expectedOutcomes:")
    try:
        expected = [str(one) for one in ast.literal_eval(outcomes.strip())]
    except (ValueError, SyntaxError) as error:
        raise ProviderFault("offline/judge: this is not how tau2 asks its judge", 400) from error
    heard = _letters(conversation)
    results = [
        {
            "expectedOutcome": outcome,
            "reasoning": "offline/judge looks for these very words in the conversation",
            "metExpectation": _letters(outcome) in heard,
        }
        for outcome in expected
    ]
    return _completion(_text(json.dumps({"results": results})))


class _Conversation:
    """What a request shows of the conversation."""

    def __init__(self, request: Request) -> None:
        messages = request["messages"]
        self.system = [_content(one) for one in messages if one["role"] == "system"]
        self._messages = [one for one in messages if one["role"] != "system"]
        self._ends_with_a_note = bool(messages) and messages[-1]["role"] == "system"
        self.id = digest(messages)[:12]

    @property
    def last(self) -> Json:
        return self._messages[-1] if self._messages else {"role": "user", "content": ""}

    @property
    def user_texts(self) -> list[str]:
        return [_content(one) for one in self._messages if one["role"] == "user"]

    @property
    def own_texts(self) -> list[str]:
        return [_content(one) for one in self._messages if one["role"] == "assistant" and _content(one)]

    @property
    def reported(self) -> set[int]:
        """The numbers of the steps that the customer says are done."""
        return {int(number) for text in self.user_texts for number in _STEP.findall(text)}

    @property
    def calls(self) -> list[str]:
        """The signatures of all tool calls that were made, and answered."""
        answered = {one["tool_call_id"] for one in self._messages if one["role"] == "tool"}
        return [_signature(name, arguments) for id, name, arguments in self._all_calls() if id in answered]

    @property
    def just_called(self) -> str:
        """The name of the tool whose answer is the last message; empty where that is none."""
        last = self._last_call()
        return last[0] if last else ""

    def just_failed_at_something_else(self, steps: tuple[Step, ...]) -> bool:
        """Whether the last tool call failed, was none of the reference's, and nobody gave the clerk a hint."""
        last = self._last_call()
        if last is None or self._ends_with_a_note or not _content(self.last).startswith("Error"):
            return False
        return _signature(*last) not in {_signature(step.name, step.arguments) for step in steps}

    @property
    def was_told_after_failing(self) -> bool:
        return self._ends_with_a_note and _content(self.last).startswith("Error")

    def _last_call(self) -> tuple[str, Json] | None:
        """The tool call that the last message answers."""
        if self.last["role"] != "tool":
            return None
        found = [call[1:] for call in self._all_calls() if call[0] == self.last["tool_call_id"]]
        return found[-1] if found else None

    def _all_calls(self) -> Iterator[tuple[str, str, Json]]:
        for message in self._messages:
            for call in message.get("tool_calls") or []:
                yield call["id"], call["function"]["name"], json.loads(call["function"]["arguments"])


def _with_wrong_identifier(step: Step) -> Json | None:
    """The step's arguments with an identifier that does not exist; None where they have none."""
    for name, value in step.arguments.items():
        if name.endswith("_id") and isinstance(value, str):
            return {**step.arguments, name: f"{value}9"}
    return None


def _spoken(step: Step) -> str:
    arguments = ", ".join(f"{name}={json.dumps(value)}" for name, value in step.arguments.items())
    return f"{step.name}({arguments})"


def _signature(name: str, arguments: Json) -> str:
    return f"{name} {digest(arguments)}"


def _letters(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", " ", text.lower().replace("\\n", " ")).strip()


def _content(message: Json) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else json.dumps(content)


def _text(content: str) -> Json:
    return {"role": "assistant", "content": content}


def _mistaken(mistake: Mistake, message: Json) -> Json:
    return {**message, _MISTAKE: mistake.name}


def _call(seen: _Conversation, name: str, arguments: Json, id: str = "", cut: bool = False) -> Json:
    written = json.dumps(arguments)
    function = {"name": name, "arguments": written[: len(written) // 2] + "..." if cut else written}
    calls = [{"id": id or f"call_{seen.id}", "type": "function", "function": function}]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def _completion(message: Json) -> Response:
    return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "cost_usd": 0.0}
