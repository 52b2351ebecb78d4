"""A simulation as your own benchmark sees it: the agent to talk to, other LLMs to ask, the result to return."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from autoharness.benchmarks import message_listener
from autoharness.benchmarks.protocol import AgentLink, Complete, Limits
from autoharness.benchmarks.user_code import STOPS
from autoharness.core.errors import AutoHarnessError
from autoharness.core.redaction import cut, scrubbed

_LONGEST_CHARS = 200_000
"""The longest text that a tool tells the agent."""

Json = dict[str, Any]

Tool = Callable[..., Any]
"""What a tool call does: takes the call's arguments, returns what the agent is told."""


@dataclass(frozen=True)
class Check:
    """A check that a reward depends on. Traces and the report show it beside the conversation."""

    what: str
    met: bool
    why: str = ""


@dataclass(frozen=True)
class Result:
    """The result of a simulation."""

    reward: float
    """In [0, 1]; 1 is passed."""
    checks: Sequence[Check] = ()
    """At most the first 500 are kept."""


class Ended(Exception):
    """A limit of the experiment ends the conversation; the text says which."""


class Simulation:
    """One trial of one task: its conversation with the agent, and the other LLMs that it may ask."""

    def __init__(
        self,
        task_id: str,
        seed: int,
        policy: str,
        schemas: Sequence[Json],
        limits: Limits,
        link: AgentLink,
        complete: Complete,
        user_args: Json,
    ) -> None:
        self.task_id = task_id
        self.seed = seed
        """Another one for each task and trial. Draw everything random from it."""
        self.messages: list[Json] = []
        """The conversation so far, as traces have it: role, content, tool_calls."""
        self.ended: Exception | None = None
        """The failure or limit that ended it: after that nothing that the benchmark returns counts."""
        self._policy = policy
        self._schemas = schemas
        self._limits = limits
        self._link = link
        self._complete = complete
        self._user_args = user_args
        self._errors = 0
        self._stopped = False

    def ask(self, text: str, tools: Mapping[str, Tool] | None = None) -> str:
        """Say something to the agent, run the tools that it calls, and return what it answers in the end.

        If a tool raises an exception or does not exist, the agent is told so. `max_steps` messages and `max_errors`
        such failures end the simulation, with reward 0. Nothing limits how long a tool takes: expect that an agent
        writes arguments that are meant to break it. After `stop` the text is "".
        """
        if not isinstance(text, str):
            raise TypeError(f"the agent is told a text, not {type(text).__name__}")
        if self._stopped:
            return ""
        with self._noting_its_end():
            if not self.messages:
                self._link.start(list(self._schemas), self._policy, {"seed": self.seed}, [])
            message: Json = {"role": "user", "content": sendable(text), "tool_calls": None}
            self._keep(message)
            while True:
                reply = self._link.next(message)
                calls = [{**call, "requestor": "assistant"} for call in reply["tool_calls"]]
                said = {"role": "assistant", "content": reply["content"], "tool_calls": calls or None}
                ended = {"finish_reason": reply["finish_reason"]} if "finish_reason" in reply else {}
                self._keep({**said, "cost": reply["cost_usd"], **ended})
                if not calls:
                    return str(reply["content"])
                results = [self._call(call, tools or {}) for call in calls]
                if self._stopped:
                    return ""
                message = results[0] if len(results) == 1 else {"role": "tool", "tool_messages": results}

    def stop(self) -> None:
        """For a tool to call: the conversation ends once all calls of the agent's message are answered. From then on
        `ask` returns at once."""
        self._stopped = True

    def complete(self, role: str, messages: list[Json], **arguments: Any) -> str:
        """What the LLM of "user" or "judge" says to these messages of a chat completion; metered and retried."""
        if role not in ("user", "judge"):
            raise ValueError(f"there is an LLM for user and judge, not for {role!r}")
        given = {**(self._user_args if role == "user" else {}), **arguments}
        with self._noting_its_end():
            answer = self._complete(role, {"messages": messages, **given})
        return str(answer["choices"][0]["message"].get("content") or "")

    @contextmanager
    def _noting_its_end(self) -> Iterator[None]:
        """The simulation stays ended, even if the benchmark catches the exception."""
        if self.ended:
            raise self.ended
        try:
            yield
        except (AutoHarnessError, Ended) as end:
            self.ended = end
            raise

    def _call(self, call: Json, tools: Mapping[str, Tool]) -> Json:
        content, failed = _outcome(tools, call["name"], call["arguments"])
        message = {"role": "tool", "id": call["id"], "content": content, "error": failed, "requestor": "assistant"}
        self._keep(message)
        self._errors += failed
        if self._errors >= self._limits.max_errors:
            raise Ended("too_many_errors")
        return message

    def _keep(self, message: Json) -> None:
        message_listener.say(len(self.messages), message)
        self.messages.append(message)
        if len(self.messages) > self._limits.max_steps:
            raise Ended("max_steps")


def sendable(text: str) -> str:
    """The text as other processes and files accept it: no half characters."""
    return text.encode(errors="replace").decode()


def _outcome(tools: Mapping[str, Tool], name: str, arguments: Json) -> tuple[str, bool]:
    """What the agent is told of a call, and whether it failed."""
    if name not in tools:
        return f"Error: there is no tool {name!r}", True
    try:
        return _told(str(tools[name](**arguments))), False
    except AutoHarnessError:
        raise
    except STOPS as error:
        return _told(f"Error: {scrubbed(str(error))}"), True


def _told(text: str) -> str:
    return sendable(cut(text, _LONGEST_CHARS))
