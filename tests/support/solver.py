"""A model that solves every tau2 task from its reference actions: as agent, as user simulator and as judge.

It keeps no state: a reply follows from the messages of the request alone, so that retries, and simulations in
parallel, are safe. What has to be known later stands in the conversation: <<task id>> since the user's first
message, [step 3] where the agent asks for an action of the user's and where the user reports it done, and the
step's number in the id of each tool call.
"""

from __future__ import annotations

import ast
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from llm_server import assistant, tool_call

if TYPE_CHECKING:
    from tau2.data_model.tasks import Action, Task

Json = dict[str, Any]

_SCENARIO = re.compile(r"<scenario>\n(.*)\n</scenario>", re.DOTALL)
_TASK = re.compile(r"<<(.+?)>>")
_STEP = re.compile(r"\[step (\d+)\]")
_STEP_ID = re.compile(r"step_(\d+)")
_FINISHED = "[finished]"


class _Probe(NamedTuple):
    requestor: str
    name: str
    arguments: Json

    @property
    def id(self) -> str:
        return f"probe_{self.name}"


# Telecom's 114 tasks share 15 scenarios. What these read-only tools show before anything is done tells the
# tasks of one scenario apart, but for a locked SIM card that is not in the phone: see Solver._plan.
_PROBES = (
    _Probe("user", "check_network_status", {}),
    _Probe("user", "check_network_mode_preference", {}),
    _Probe("user", "check_data_restriction_status", {}),
    _Probe("user", "check_apn_settings", {}),
    _Probe("user", "check_wifi_calling_status", {}),
    _Probe("user", "check_vpn_status", {}),
    _Probe("user", "check_app_permissions", {"app_name": "messaging"}),
    _Probe("assistant", "get_details_by_id", {"id": "L1002"}),
)


class Solver:
    """`leave_out` maps a task's id to the index of the reference action that is skipped.

    A task that cannot be told from another one given shares its fate; give only the tasks that are run.
    """

    def __init__(self, tasks: Iterable[Task], leave_out: Mapping[str, int] | None = None) -> None:
        self._tasks = {task.id: task for task in tasks}
        self._leave_out = dict(leave_out or {})
        self._by_scenario: dict[str, list[str]] = defaultdict(list)
        for task in self._tasks.values():
            self._by_scenario[str(task.user_scenario)].append(task.id)
        alike = [ids for ids in self._by_scenario.values() if len(ids) > 1]
        self._facts = {id: _facts(self._tasks[id]) for ids in alike for id in ids}

    def reply(self, request: Json) -> Json:
        messages = request["messages"]
        system = "\n".join(_text(m) for m in messages if m["role"] == "system")
        if "metExpectation" in system:
            return _all_met(_text(messages[-1]))
        if scenario := _SCENARIO.search(system):
            return self._as_user(messages, self._by_scenario[scenario[1]])
        return self._as_agent(messages)

    def _as_user(self, messages: list[Json], ids: list[str]) -> Json:
        ids = self._candidates(messages, ids)
        marks = _marks(ids)
        last = messages[-1]
        if last["role"] == "tool" and (done := _STEP_ID.fullmatch(last["tool_call_id"])):
            return assistant(f"I have done [step {done[1]}]. {marks}")
        if _FINISHED in _text(last):
            return assistant("Thank you, goodbye. ###STOP###")
        if asked := _STEP.search(_text(last)):
            return _call(self._plan(ids)[int(asked[1])], int(asked[1]))
        if probes := self._open_probes("user", ids, messages):
            return assistant(tool_calls=probes)
        return assistant(f"Hello, please help me. {marks}")

    def _as_agent(self, messages: list[Json]) -> Json:
        ids = self._candidates(messages, [])
        if not ids:
            return assistant("Hello, what can I do for you?")
        if probes := self._open_probes("assistant", ids, messages):
            return assistant(tool_calls=probes)
        plan, step = self._plan(ids), _steps_done(messages)
        if step >= len(plan):
            return assistant(f"This is done. {self._to_communicate(ids)} {_FINISHED}")
        if plan[step].requestor == "user":
            return assistant(f"Please do {plan[step].name} now: [step {step}]. {_marks(ids)}")
        return _call(plan[step], step)

    def _candidates(self, messages: list[Json], ids: list[str]) -> list[str]:
        """The tasks last named in the conversation, else `ids`; of these, those that fit the probes."""
        for message in reversed(messages):
            if message["role"] in ("user", "assistant") and (named := _TASK.findall(_text(message))):
                ids = [id for id in named if id in self._tasks]
                break
        shown = {m["tool_call_id"]: _text(m) for m in messages if m["role"] == "tool"}
        fitting = [id for id in ids if all(shown.get(k, v) == v for k, v in self._facts.get(id, {}).items())]
        return fitting or ids

    def _open_probes(self, requestor: str, ids: list[str], messages: list[Json]) -> list[Json]:
        """Calls that would tell the candidates apart and were not made yet."""
        made = {m["tool_call_id"] for m in messages if m["role"] == "tool"}
        facts = [self._facts.get(id, {}) for id in ids]
        telling = [probe for probe in _PROBES if len({shown.get(probe.id) for shown in facts}) > 1]
        return [
            tool_call(probe.name, probe.arguments, probe.id)
            for probe in telling
            if probe.requestor == requestor and probe.id not in made
        ]

    def _plan(self, ids: list[str]) -> list[Action]:
        """The reference actions; of several candidates, the longest list, then what only the others have.

        Among telecom's, only pairs with an unseated SIM card stay alike: with a PIN lock the reference is a
        transfer, without one a repair; and a transfer after the repair solves both.
        """
        first, *others = sorted(ids, key=lambda id: (id not in self._leave_out, -len(self._actions(id))))
        kept = [a for index, a in enumerate(self._actions(first)) if index != self._leave_out.get(first)]
        known = [_signature(action) for action in self._actions(first)]
        return kept + [a for id in others for a in self._actions(id) if _signature(a) not in known]

    def _actions(self, id: str) -> list[Action]:
        criteria = self._tasks[id].evaluation_criteria
        return (criteria.actions if criteria else None) or []

    def _to_communicate(self, ids: list[str]) -> str:
        criteria = [self._tasks[id].evaluation_criteria for id in ids]
        return "; ".join(info for c in criteria if c for info in c.communicate_info or [])


def _facts(task: Task) -> dict[str, str]:
    """What each probe shows at the start of a telecom task, by call id; other domains have no probes."""
    if getattr(task.user_scenario.instructions, "domain", None) != "telecom":
        return {}
    from tau2.data_model.message import ToolCall
    from tau2.domains.telecom.environment import get_environment

    environment, start = get_environment(), task.initial_state
    environment.set_state(start.initialization_data, start.initialization_actions, [])
    calls = [ToolCall(id=p.id, name=p.name, arguments=p.arguments, requestor=p.requestor) for p in _PROBES]
    return {call.id: environment.get_response(call).content for call in calls}


def _all_met(judge_prompt: str) -> Json:
    expected = ast.literal_eval(judge_prompt.rpartition("expectedOutcomes:")[2].strip())
    results = [{"expectedOutcome": e, "reasoning": "It was met.", "metExpectation": True} for e in expected]
    return assistant(json.dumps({"results": results}))


def _steps_done(messages: list[Json]) -> int:
    """The agent's next step: one more than the last it has a tool result for, or the user's word."""
    own = [_STEP_ID.fullmatch(m["tool_call_id"]) for m in messages if m["role"] == "tool"]
    reported = [_STEP.search(_text(m)) for m in messages if m["role"] == "user"]
    return max((int(done[1]) + 1 for done in own + reported if done), default=0)


def _call(action: Action, step: int) -> Json:
    return assistant(tool_calls=[tool_call(action.name, action.arguments, f"step_{step}")])


def _marks(ids: list[str]) -> str:
    return " ".join(f"<<{id}>>" for id in ids)


def _signature(action: Action) -> tuple[str, str, Json]:
    return action.requestor, action.name, action.arguments


def _text(message: Json) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
