"""Shared databases against tau2's own: the same answers of tools, hashes, checks and rewards."""

import copy
import json
import os
import pickle
import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import RECORDINGS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from autoharness.benchmarks.tau2 import databases
from autoharness.benchmarks.tau2.adapter import Conversation, Tau2
from autoharness.benchmarks.tau2.databases import Records
from autoharness.core.errors import EvaluationError, SharedRecordChanged
from autoharness.core.outcomes import VERIFIED, Status, Trial

DOMAINS = ["airline", "retail", "telecom", "mock"]
EXAMPLES = {"airline": 3, "retail": 6, "telecom": 20, "mock": 20}
if os.environ.get("AUTOHARNESS_FULL_TESTS"):
    EXAMPLES = dict.fromkeys(DOMAINS, 300)
each_domain = pytest.mark.parametrize("domain", DOMAINS)

Json = dict[str, Any]


# --- one table -------------------------------------------------------------------------------------


class Record(BaseModel):
    value: Any = 0
    parts: dict[str, list[int]] = {}


KEYS = st.sampled_from(["a", "b", "c", "d", "new"])
RECORDS = st.builds(Record, value=st.sampled_from([0, 1, 1.0, True, "x"]))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["read", "get", "change", "change got", "delete", "pop"]), KEYS),
        st.tuples(st.sampled_from(["put", "setdefault", "update", "ior"]), KEYS, RECORDS),
        st.tuples(st.sampled_from(["copy", "or", "ror", "dict", "pickle", "deepcopy", "popitem", "sum"])),
    ),
    max_size=12,
)


def table() -> databases._Table:
    return databases._Table("table", {key: Record(value=n, parts={"p": [n]}) for n, key in enumerate("abcd")})


def act(records: Any, step: tuple[Any, ...]) -> Any:
    """Do a step to a table, or to the plain dictionary that it stands for; what comes of it, as JSON or an error."""
    kind, *rest = step
    try:
        if kind == "read":
            return records[rest[0]].model_dump()
        if kind == "get":
            return (found := records.get(rest[0])) and found.model_dump()
        if kind == "change":
            records[rest[0]].parts["p"].append(9)
        elif kind == "change got":
            if found := records.get(rest[0]):
                found.value = 1.0
        elif kind == "delete":
            del records[rest[0]]
        elif kind == "pop":
            return _changed(records.pop(rest[0]))
        elif kind == "put":
            records[rest[0]] = rest[1].model_copy(deep=True)
        elif kind == "setdefault":
            return _changed(records.setdefault(rest[0], rest[1].model_copy(deep=True)))
        elif kind == "update":
            records.update({rest[0]: rest[1].model_copy(deep=True)})
        elif kind == "ior":
            records |= {rest[0]: rest[1].model_copy(deep=True)}
        elif kind == "popitem":
            return records.popitem()[0]
        elif kind == "sum":
            return [str(record.value) for record in records.values()], [key for key, _ in records.items()]
        else:
            made = {
                "copy": lambda: records.copy(),
                "or": lambda: records | {},
                "ror": lambda: {} | records,
                "dict": lambda: {**records},
                "pickle": lambda: pickle.loads(pickle.dumps(records)),
                "deepcopy": lambda: copy.deepcopy(records),
            }[kind]()
            assert type(made) is dict
            return {key: record.model_dump() for key, record in made.items()}
    except KeyError as error:
        return repr(error)
    return None


def _changed(record: Record) -> Json:
    record.value = "changed"
    return record.model_dump()


@given(STEPS)
def test_a_view_of_a_table_is_like_a_dictionary_of_its_own(steps: list[tuple[Any, ...]]) -> None:
    shared = table()
    view, own = Records(shared), {key: record.model_copy(deep=True) for key, record in shared.records.items()}
    with databases.watch():
        for step in steps:
            assert act(view, step) == act(own, step)
    assert {key: repr(record) for key, record in dict(view).items()} == {key: repr(one) for key, one in own.items()}
    assert list(view) == list(own)
    assert shared.is_untouched()


@pytest.mark.parametrize("value", [1, True, 1.0], ids=repr)
def test_a_shared_record_that_changes_its_type_alone_is_noticed(value: Any) -> None:
    shared = databases._Table("table", {"a": Record(value=1)})
    with databases.watch():
        next(iter(Records(shared).values())).value = 1
    shared.records["a"].value = value
    assert shared.is_untouched() == (type(value) is int)


def test_outside_of_a_watch_nothing_is_lent() -> None:
    shared = table()
    for record in Records(shared).values():
        record.value = "changed"
    assert shared.is_untouched()


# --- whole environments ----------------------------------------------------------------------------


def plain_environment(tau2: Tau2, domain: str) -> Any:
    with databases.plain():
        return tau2._registry.get_env_constructor(domain)()


def shared_environment(tau2: Tau2, domain: str) -> Any:
    return tau2._registry.get_env_constructor(domain)()


def contents(environment: Any) -> str:
    kits = (environment.tools, environment.user_tools)
    dumps = [kit.db.model_dump() for kit in kits if kit is not None and getattr(kit, "db", None) is not None]
    return json.dumps(dumps, sort_keys=True, default=str)


def hashes(environment: Any) -> tuple[Any, Any]:
    return environment.get_db_hash(), environment.get_user_db_hash()


class Calls:
    """Sequences of tool calls: reference actions and recorded ones in their order, with wrong ones between them."""

    def __init__(self, tau2: Tau2, domain: str) -> None:
        self.tasks = list(tau2._tasks(domain).values())
        self.actions = {
            task.id: [(one.requestor, one.name, one.arguments) for one in task.evaluation_criteria.actions or []]
            for task in self.tasks
            if task.evaluation_criteria
        }
        self.changing = tau2._policy_and_changing_tools(domain)[1]
        self.recorded = list(_recorded(domain))

    def draw(self, chance: random.Random) -> tuple[Any, list[tuple[str, str, Json]]]:
        """A task, and calls: its reference actions or what a real agent did in it, and what goes wrong."""
        task = chance.choice([task for task in self.tasks if self.actions.get(task.id)])
        calls = list(self.actions[task.id])
        if self.recorded and chance.random() < 0.5:
            task_id, calls = chance.choice(self.recorded)
            task = next((one for one in self.tasks if one.id == task_id), task)
        others = [call for some in chance.sample(sorted(self.actions), 3) for call in self.actions[some]]
        calls += [call for call in others if call[:2] in self.changing]
        calls = [call for call in calls if call[:2] in self.changing or chance.random() < 0.4]
        calls = [self._perhaps_wrong(call, chance) for call in calls[: chance.randint(4, 20)]]
        if chance.random() < 0.3:
            calls = calls + calls[-2:]
        return task, calls

    def _perhaps_wrong(self, call: tuple[str, str, Json], chance: random.Random) -> tuple[str, str, Json]:
        requestor, name, arguments = call
        kind = chance.random()
        if kind > 0.2 or not arguments:
            return call
        key = chance.choice(sorted(arguments))
        if kind < 0.04:
            return requestor, "no_such_tool", arguments
        if kind < 0.08:
            return requestor, name, {other: value for other, value in arguments.items() if other != key}
        wrong = chance.choice(["nobody_9999", "", None, 7, ["x"], {"a": 1}, "☃"])
        return requestor, name, {**arguments, key: wrong}


def _recorded(domain: str) -> Iterator[tuple[str, list[tuple[str, str, Json]]]]:
    for file in sorted(RECORDINGS.glob(f"{domain}-*.json")) if RECORDINGS.exists() else []:
        document = json.loads(file.read_text())
        for simulation in document.get("simulations", []) if isinstance(document, dict) else []:
            calls = [
                (call.get("requestor", message["role"]), call["name"], call["arguments"])
                for message in simulation.get("messages", [])
                for call in message.get("tool_calls") or []
            ]
            if calls and all(isinstance(arguments, dict) for _, _, arguments in calls):
                yield str(simulation["task_id"]), calls


def respond(environment: Any, number: int, call: tuple[str, str, Json]) -> Any:
    from tau2.data_model.message import ToolCall

    requestor, name, arguments = call
    requestor = "user" if requestor == "user" else "assistant"
    return environment.get_response(ToolCall(id=str(number), name=name, arguments=arguments, requestor=requestor))


def begin(environment: Any, task: Any) -> None:
    start = task.initial_state
    environment.set_state(
        initialization_data=start.initialization_data if start else None,
        initialization_actions=start.initialization_actions if start else None,
        message_history=(start.message_history if start else None) or [],
    )


def conversation(task: Any, environment: Any, calls: list[tuple[str, str, Json]], answers: list[Any]) -> Conversation:
    """As if an agent and a user had made these calls."""
    from tau2.data_model.message import AssistantMessage, ToolCall, UserMessage
    from tau2.data_model.simulation import SimulationRun, TerminationReason

    messages: list[Any] = list((task.initial_state and task.initial_state.message_history) or [])
    for number, ((requestor, name, arguments), answer) in enumerate(zip(calls, answers, strict=True)):
        kind = UserMessage if requestor == "user" else AssistantMessage
        role = "user" if requestor == "user" else "assistant"
        call = ToolCall(id=str(number), name=name, arguments=arguments, requestor=role)
        messages += [kind(role=role, content=None, tool_calls=[call]), answer]
    messages.append(UserMessage(role="user", content="Thank you. ###STOP###"))
    simulation = SimulationRun(
        id="x",
        task_id=task.id,
        start_time="",
        end_time="",
        duration=0,
        termination_reason=TerminationReason.USER_STOP,
        messages=messages,
    )
    return Conversation(task, environment, simulation)


def compare(tau2: Tau2, domain: str, calls: Calls, seed: int) -> Counter[str]:
    """Make a sequence of calls in both, and look at everything; how many succeeded, failed, changed something."""
    seen = Counter[str]()
    task, sequence = calls.draw(random.Random(seed))
    plain = plain_environment(tau2, domain)
    with databases.watch():
        shared = shared_environment(tau2, domain)
        begin(plain, task)
        begin(shared, task)
        answers = []
        for number, call in enumerate(sequence):
            before = hashes(shared)
            one, other = respond(plain, number, call), respond(shared, number, call)
            if _has_random_id(one.content):
                return seen
            assert (one.content, one.error) == (other.content, other.error)
            seen["error" if one.error else "success"] += 1
            seen["change"] += before != hashes(shared)
            answers.append(other)
        assert contents(plain) == contents(shared)
        assert hashes(plain) == hashes(shared)
        found = tau2.evaluate(domain, conversation(task, shared, sequence, answers), judge)
        diff = tau2.database_diff(domain, conversation(task, shared, sequence, answers))
    with databases.plain():
        assert tau2.evaluate(domain, conversation(task, plain, sequence, answers), judge) == found
        assert tau2.database_diff(domain, conversation(task, plain, sequence, answers)) == diff
    return seen


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@each_domain
def test_tool_calls_have_the_same_effects_and_scores_in_both(tau2: Tau2, domain: str) -> None:
    """Reference and recorded calls, failing and malformed ones: most succeed, many change something."""
    calls, seen = Calls(tau2, domain), Counter[str]()

    @settings(max_examples=EXAMPLES[domain], deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, 10**9))
    def same(seed: int) -> None:
        seen.update(compare(tau2, domain, calls, seed))

    same()
    assert seen["success"] >= seen["error"] > 0, seen
    assert seen["change"] * 10 >= seen["success"], seen  # a third or so; the draw is random, and may be far from it


def test_the_comparison_catches_a_view_that_forgets_to_copy(tau2: Tau2, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases, "_bases", {})
    monkeypatch.setattr(databases._Table, "copy", lambda table, key: table.records[key])
    calls = Calls(tau2, "retail")
    with pytest.raises((AssertionError, EvaluationError)):
        for seed in range(20):
            compare(tau2, "retail", calls, seed)


def _has_random_id(content: str) -> bool:
    """telecom names some bills at random."""
    return '"B' in content and any(len(word) == 9 and word.startswith("B") for word in content.split('"'))


def judge(role: str, request: Json) -> Json:
    """Finds that nothing was met, without looking."""
    import ast

    expected = ast.literal_eval(request["messages"][-1]["content"].rpartition("expectedOutcomes:")[2].strip())
    results = [{"expectedOutcome": one, "reasoning": "no", "metExpectation": False} for one in expected]
    return {"choices": [{"message": {"role": "assistant", "content": json.dumps({"results": results})}}]}


@pytest.mark.slow
@each_domain
def test_an_untouched_view_has_the_hash_that_tau2_gives(tau2: Tau2, domain: str) -> None:
    plain = plain_environment(tau2, domain)
    assert hashes(shared_environment(tau2, domain)) == hashes(plain)


@pytest.mark.slow
@pytest.mark.parametrize("domain", ["airline", "retail", "mock"])
def test_a_replaced_database_and_a_replaced_table_have_the_hashes_that_tau2_gives(tau2: Tau2, domain: str) -> None:
    """tau2's `update_db` makes a whole database of its own; a tool may put a plain dictionary in a table's place."""
    plain, shared = plain_environment(tau2, domain), shared_environment(tau2, domain)
    for environment in (plain, shared):
        environment.tools.update_db({})
    assert hashes(shared) == hashes(plain)
    shared = shared_environment(tau2, domain)
    name = next(iter(databases._tables(shared.tools.db)))
    setattr(shared.tools.db, name, dict(getattr(shared.tools.db, name)))
    assert hashes(shared) == hashes(plain)


# --- a tool that changes what it was lent ----------------------------------------------------------

SEARCHER = """
from autoharness.agent_api import AssistantMessage, ToolCall
class HarnessAgent:
    def __init__(self, tools, domain_policy, llm=None, llm_args=None): pass
    def get_init_state(self, message_history=None): return None
    def generate_next_message(self, message, state):
        if getattr(message, "role", "") == "tool" or not getattr(message, "content", None):
            return AssistantMessage(content="Is there anything else that I can do for you?"), state
        arguments = {"origin": "JFK", "destination": "SEA", "date": "2024-05-20"}
        return AssistantMessage(tool_calls=[ToolCall("search_direct_flight", arguments, str(n)) for n in "12"]), state
"""


@pytest.fixture
def broken_search(tau2: Tau2, monkeypatch: pytest.MonkeyPatch) -> None:
    """airline's search puts the price of every flight up, in the records that it is lent."""
    from tau2.domains.airline.tools import AirlineTools

    search = AirlineTools._search_direct_flight

    def dearer(self: Any, *args: Any, **kwargs: Any) -> Any:
        for flight in self.db.flights.values():
            for day in flight.dates.values():
                if day.status == "available":
                    day.prices["economy"] += 1
        return search(self, *args, **kwargs)

    monkeypatch.setattr(AirlineTools, "_search_direct_flight", dearer)


@pytest.mark.slow
def test_a_tool_that_changes_shared_records_is_caught_and_its_simulation_run_plainly(
    simulator: Callable[..., Any], broken_search: None
) -> None:
    """As tau2 runs it: two searches of one simulation see each other, those of two simulations do not."""
    simulations = simulator(SEARCHER, domain="airline", agent_model="offline/clerk")
    outcomes = [simulations.run(Trial("37", 0, 1), diagnose=True) for _ in range(2)]
    with databases.plain():
        plain = simulations.run(Trial("37", 0, 1), diagnose=True)
    assert "search_direct_flight" in json.dumps(plain.messages)
    for outcome in outcomes:
        assert "run once more on tau2's plain path: a tool changed shared records of flights" in outcome.notes
        assert _answers(outcome) == _answers(plain)
        assert (outcome.reward_info, outcome.database_diff) == (plain.reward_info, plain.database_diff)
        assert outcome.usage["user"].calls == plain.usage["user"].calls  # what was answered is not asked again


def _answers(outcome: Any) -> list[str]:
    return [message["content"] for message in outcome.messages if message["role"] == "tool"]


@pytest.mark.slow
def test_outside_of_the_simulation_that_changed_them_the_records_are_as_they_were(
    tau2: Tau2, broken_search: None
) -> None:
    plain = plain_environment(tau2, "airline")
    before = hashes(plain)
    with pytest.raises(SharedRecordChanged), databases.watch():
        shared_environment(tau2, "airline").tools._search_direct_flight("2024-05-20", "JFK", "SEA")
    assert hashes(shared_environment(tau2, "airline")) == before


@pytest.mark.slow
def test_a_simulation_that_may_have_seen_a_changed_record_runs_again_too(tau2: Tau2, broken_search: None) -> None:
    """tau2's `update_db` reads a whole table past Python, at a time when another simulation has changed it."""
    with pytest.raises(SharedRecordChanged, match="flights"), databases.watch():
        environment = shared_environment(tau2, "airline")
        with pytest.raises(SharedRecordChanged), databases.watch():
            shared_environment(tau2, "airline").tools._search_direct_flight("2024-05-20", "JFK", "SEA")
        environment.tools.update_db({})


# --- verify_sample ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_can_check_itself(simulator: Callable[..., Any]) -> None:
    simulations = simulator(domain="retail", agent_model="offline/clerk", verify_sample=1.0)
    outcome = simulations.run(Trial("0", 0, 1), diagnose=False)
    assert outcome.status in (Status.PASSED, Status.FAILED) and outcome.notes == [VERIFIED]


@pytest.mark.slow
def test_a_run_that_finds_another_score_takes_the_plain_one(
    simulator: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A view whose hash is wrong: the first evaluation says that the databases differ."""
    simulations = simulator(domain="retail", agent_model="offline/faultless-clerk", verify_sample=1.0)
    numbers = iter(range(1000))
    monkeypatch.setattr(databases, "_hash_of", lambda view: next(numbers))
    outcome = simulations.run(Trial("0", 0, 1), diagnose=False)
    assert outcome.status == Status.PASSED
    assert outcome.notes == ["run once more on tau2's plain path: tau2's plain path scores it otherwise"]
