"""Connects the benchmark to one simulation's agent, which runs in an agent host and asks its LLM in a session.

In another try the agent must hear and say what it heard and said before (`call_journal`).
"""

import time
from typing import Any

from autoharness import agent_api
from autoharness.core.errors import AgentError
from autoharness.core.outcomes import Usage, digest
from autoharness.host.process import Host
from autoharness.host.reply import checked_reply
from autoharness.llm.calls import AGENT
from autoharness.llm.gateway import Session
from autoharness.llm.providers import Request, Response

Json = dict[str, Any]


class AgentInHost:
    """An AgentLink: one simulation's agent, which runs in an agent host and asks its LLM through the session."""

    def __init__(self, host: Host, session: Session, llm: str, llm_args: Json, randomness: str) -> None:
        """`randomness`: seeds the random numbers of the agent's code, and reveals nothing."""
        self._host = host
        self._session = session
        self._randomness = randomness
        self._llm = llm
        self._llm_args = llm_args
        self._conversation: list[Any] = []
        self._pristine: Request = {}
        self._cut_off: list[str] = []
        """Texts of this turn that the LLM could not finish."""
        self.waited_s = 0.0

    def start(self, tools: list[Json], domain_policy: str, llm_args: Json, history: list[Json]) -> None:
        self._llm_args |= {name: value for name, value in llm_args.items() if name != "seed"}
        self._pristine = {"tools": tools, "tool_choice": "auto", **self._llm_args}
        self._hear(agent_api.SystemMessage(domain_policy), *map(agent_api._from_wire, history))
        self._call(
            "start",
            tools=tools,
            domain_policy=domain_policy,
            llm=self._llm,
            llm_args=self._llm_args,
            history=history,
            random=self._randomness,
        )

    def next(self, message: Json) -> Json:
        heard = agent_api._from_wire(message)
        self._hear(*(heard.tool_messages if isinstance(heard, agent_api.MultiToolMessage) else [heard]))
        spent_usd = self._spent_usd()
        self._session.journal.begin_turn()
        self._cut_off.clear()
        reply = self._as_before(_words_heard(message), checked_reply(self._call("next", message=message)))
        self._hear(agent_api._from_wire({"role": "assistant", **reply}))
        is_cut_off = bool(reply["content"]) and reply["content"].strip() in self._cut_off
        ended = {"finish_reason": "length"} if is_cut_off else {}
        return {**reply, "cost_usd": self._spent_usd() - spent_usd, **ended}

    def _as_before(self, heard: str, reply: Json) -> Json:
        """What the agent says now. Raises AgentError if it said, or heard, something else in an earlier try.

        Otherwise an agent that sees that it is failing could take its words back by making the try fail.
        """
        journal = self._session.journal
        before = journal.said_before()
        if before is None:
            journal.note_said(heard, reply)
        elif before[0] != heard and journal.plain:
            journal.forget_words()
            journal.note_said(heard, reply)
        elif before[0] != heard:
            raise AgentError(f"before turn {journal.turn} the agent hears something else than in an earlier try")
        elif _words(before[1]) != _words(reply):
            raise AgentError(f"the agent does not repeat its turn {journal.turn} of an earlier try, which broke off")
        return reply

    def _hear(self, *messages: Any) -> None:
        self._conversation += messages

    def _call(self, call: str, **arguments: Any) -> Any:
        started, spent_s = time.monotonic(), self._host.own_code_s
        result = self._host.call(call, self._complete, **arguments)
        self.waited_s += time.monotonic() - started - (self._host.own_code_s - spent_s)
        return result

    def _complete(self, request: Request) -> Response:
        response = self._session.complete_for_agent(request, self._pristine_request)
        choice = response["choices"][0]
        if choice.get("finish_reason") == "length":
            self._cut_off.append((choice["message"].get("content") or "").strip())
        return _for_the_agent(response)

    def _pristine_request(self) -> Request:
        """What the untouched template would ask now: the policy, the conversation as it was, the same tools."""
        return {"messages": agent_api.to_chat(self._conversation), **self._pristine}

    def _spent_usd(self) -> float:
        return self._session.usage.get(AGENT, Usage()).cost_usd


def _for_the_agent(response: Response) -> Response:
    """The part of a response that the agent sees: what the model said, and how many tokens it used.

    Not the price, nor how many tokens came from the provider's cache: an agent could use that as a memory from one
    simulation to the next.
    """
    seen: Response = {name: response[name] for name in ("id", "object", "created", "model") if name in response}
    usage = response.get("usage") or {}
    counts = ("prompt_tokens", "completion_tokens", "total_tokens")
    choices = [_choice_for_the_agent(response["choices"][0])]
    return {**seen, "choices": choices, "usage": {name: usage[name] for name in counts if name in usage}}


def _choice_for_the_agent(choice: Json) -> Json:
    message = choice["message"]
    said = {"role": "assistant", "content": message.get("content")}
    if calls := message.get("tool_calls"):
        said["tool_calls"] = [_call_for_the_agent(call) for call in calls]
    return {"index": 0, "message": said, "finish_reason": choice.get("finish_reason") or "stop"}


def _call_for_the_agent(call: Json) -> Json:
    name, arguments = call["function"]["name"], call["function"].get("arguments") or "{}"
    return {"id": call.get("id") or "", "type": "function", "function": {"name": name, "arguments": arguments}}


def _words_heard(message: Json) -> str:
    """A digest of what the agent hears, without the ids of its own tool calls."""
    parts = message.get("tool_messages") or [message]
    return digest([{name: value for name, value in part.items() if name != "id"} for part in parts])


def _words(reply: Json) -> Json:
    """A message without the ids of its tool calls, which a framework may draw at random."""
    return {"content": reply["content"], "calls": [[one["name"], one["arguments"]] for one in reply["tool_calls"]]}
