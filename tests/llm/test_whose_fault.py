"""Whose fault it is: docs/rewards.md row by row, through a real server, a real tau2 and a real agent host."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import TEMPLATE
from llm_server import Fault, assistant, tool_call
from mood import Mood
from provider import INFRASTRUCTURE, Provider
from simulations import MODEL, TASK, Json, MakeSimulator, edited, run

from autoharness.core.errors import UserError
from autoharness.core.outcomes import Status

OVERFLOW = json.dumps({"error": {"message": "This model's maximum context length is 8192 tokens."}})


def test_the_pristine_agent_solves_a_task(provider: Provider, simulator: MakeSimulator) -> None:
    outcome = run(simulator(agent_model=MODEL))
    assert (outcome.status, outcome.reward, outcome.detail) == (Status.PASSED, 1.0, "")
    assert outcome.usage["agent"].calls + outcome.usage["user"].calls == provider.answered
    assert [message["role"] for message in outcome.messages][:2] == ["assistant", "user"]


@pytest.mark.slow
@pytest.mark.parametrize("role", ["agent", "user"])
@pytest.mark.parametrize("fault", INFRASTRUCTURE.values(), ids=INFRASTRUCTURE)
def test_a_provider_that_fails_is_infrastructure(
    provider: Provider, simulator: MakeSimulator, fault: Fault, role: str
) -> None:
    provider.fault, provider.role = fault, role
    outcome = run(simulator(agent_model=MODEL, llm_timeout_s=0.5))
    assert outcome.reward is None
    assert outcome.status == {"agent": Status.PROVIDER_ERROR, "user": Status.USER_ERROR}[role]
    assert outcome.detail


def test_an_unreachable_provider_is_infrastructure(simulator: MakeSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_BASE", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "the-key")
    outcome = run(simulator(agent_model=MODEL))
    assert (outcome.status, outcome.reward) == (Status.USER_ERROR, None)  # the user speaks first


@pytest.mark.slow
@pytest.mark.parametrize("fault", [Fault(429), Fault(500), Fault(truncate=True)], ids=["429", "500", "truncated"])
def test_a_passing_fault_is_retried(provider: Provider, simulator: MakeSimulator, fault: Fault) -> None:
    provider.fault, provider.times = fault, 1
    assert run(simulator(agent_model=MODEL, llm_retries=1)).status == Status.PASSED


@pytest.mark.parametrize(
    "fault",
    [Fault(400, '{"error": {"message": "no such words"}}'), Fault(400, OVERFLOW)],
    ids=["refused", "too-long"],
)
def test_words_that_the_users_provider_does_not_take_are_the_agents_fault(
    provider: Provider, simulator: MakeSimulator, fault: Fault
) -> None:
    """Otherwise an agent could void the tasks that it fails."""
    provider.fault, provider.role, provider.only_if = fault, "user", "SWEAR"
    agent = edited("from autoharness.agent_api import AssistantMessage\nreturn AssistantMessage('SWEAR'), state")
    outcome = run(simulator(agent, agent_model=MODEL))
    assert (outcome.status, outcome.reward) == (Status.AGENT_ERROR, 0.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [Fault(500), Fault(hang_s=30), Fault(403, "<h1>blocked</h1>"), assistant(""), Fault(body='{"choices": []}')],
    ids=["500", "hang", "firewall", "empty", "no-choices"],
)
@pytest.mark.parametrize("role", ["user", "agent"])
def test_words_at_which_a_provider_always_fails_are_the_agents_fault(
    provider: Provider, simulator: MakeSimulator, fault: Fault, role: str
) -> None:
    """Whatever the failure looks like. The agent's own model gets them back with the conversation."""
    provider.fault, provider.role, provider.only_if = fault, role, "SWEAR"
    said = "AssistantMessage('SWEAR')"
    agent = edited(
        "from autoharness.agent_api import AssistantMessage\n"
        f"if 'SWEAR' not in str(state.messages):\n    state.messages += [message, {said}]\n    return {said}, state\n"
        "return turn(self, message, state)"
    )
    outcome = run(simulator(agent, agent_model=MODEL, llm_timeout_s=1.0))
    assert (outcome.status, outcome.reward) == (Status.AGENT_ERROR, 0.0), outcome.detail


IDS = {
    "too-long": "for one in answer.tool_calls or []: one.id = 'x' * 100",
    "twice": "answer.tool_calls = (answer.tool_calls or []) * 2",
}


@pytest.mark.parametrize("code", IDS.values(), ids=IDS)
def test_ids_that_a_provider_refuses_are_the_agents_fault(
    provider: Provider, simulator: MakeSimulator, code: str
) -> None:
    def reply(request: Json, solve: Callable[[Json], Json]) -> Json | Fault:
        calls = [one for message in request["messages"] for one in message.get("tool_calls") or []]
        ids = [one["id"] for one in calls]
        bad = len(set(ids)) < len(ids) or max(map(len, ids), default=0) > 40
        return Fault(400, '{"error": {"message": "bad id"}}') if bad else solve(request)

    provider.mood = Mood("OpenAI, Anthropic", reply, "agent_error")
    outcome = run(
        simulator(
            edited(f"answer, state = turn(self, message, state)\n{code}\nreturn answer, state"), agent_model=MODEL
        )
    )
    assert (outcome.status, outcome.reward) == (Status.AGENT_ERROR, 0.0), outcome.detail


def test_a_user_simulator_that_says_nothing_is_infrastructure(provider: Provider, simulator: MakeSimulator) -> None:
    provider.fault, provider.role = assistant(""), "user"
    outcome = run(simulator(agent_model=MODEL))
    assert (outcome.status, outcome.reward) == (Status.USER_ERROR, None)


@pytest.mark.slow
def test_what_was_paid_for_is_not_paid_for_again(provider: Provider, simulator: MakeSimulator) -> None:
    """The second attempt at a simulation answers from memory what the provider answered in the first."""
    run(simulator(agent_model=MODEL))
    undisturbed, provider.answered = provider.answered, 0
    provider.fault, provider.after, provider.times = Fault(500), 1, 3  # both probes too
    outcome = run(simulator(agent_model=MODEL, simulation_retries=1))
    assert outcome.status == Status.PASSED
    assert provider.answered == undisturbed == sum(usage.calls for usage in outcome.usage.values())
    assert outcome.notes[0].startswith("the agent's call was tried again: provider_error")
    assert outcome.tries == 2


def test_a_request_that_only_the_edit_makes_bad_is_the_agents_fault(
    provider: Provider, simulator: MakeSimulator
) -> None:
    """A 400 that the pristine template's request does not get."""
    provider.fault, provider.only_if = Fault(400, '{"error": {"message": "no such role"}}'), "BE EVIL"
    agent = TEMPLATE.replace("You are a helpful assistant", "BE EVIL")
    outcome = run(simulator(agent, agent_model=MODEL))
    assert (outcome.status, outcome.reward) == (Status.AGENT_ERROR, 0.0)
    assert "refused" in outcome.detail


@pytest.mark.slow
@pytest.mark.parametrize("fault", [Fault(500), Fault(hang_s=30), Fault(body="<html>")], ids=["500", "hang", "html"])
def test_a_request_on_which_the_provider_fails_every_time_is_the_agents_fault(
    provider: Provider, simulator: MakeSimulator, fault: Fault
) -> None:
    """Otherwise an edit could void the trials that it would fail: a provider's outage costs nothing."""
    provider.fault, provider.only_if = fault, "BE EVIL"
    agent = TEMPLATE.replace("You are a helpful assistant", "BE EVIL")
    outcome = run(simulator(agent, agent_model=MODEL, llm_timeout_s=1.0))
    assert (outcome.status, outcome.reward) == (Status.AGENT_ERROR, 0.0)
    assert "again and again" in outcome.detail


def test_an_outage_that_is_over_when_the_pristine_request_is_tried_costs_nothing(
    provider: Provider, simulator: MakeSimulator
) -> None:
    provider.fault, provider.after, provider.times = Fault(500), 1, 1
    outcome = run(simulator(agent_model=MODEL))
    assert (outcome.status, outcome.notes) == (Status.PASSED, [])


def test_a_context_overflow_is_the_agents_fault(provider: Provider, simulator: MakeSimulator) -> None:
    provider.fault, provider.only_if = Fault(400, OVERFLOW), "tool_call_id"  # not the opening
    outcome = run(simulator(agent_model=MODEL))
    assert (outcome.status, outcome.reward) == (Status.AGENT_ERROR, 0.0)
    assert "too long" in outcome.detail


MALFORMED = {
    "not-json": tool_call("create_task", '{"user_id": '),
    "not-an-object": tool_call("create_task", '["user_1"]'),
}


@pytest.mark.parametrize("call", MALFORMED.values(), ids=MALFORMED)
def test_malformed_tool_arguments_are_the_agents_fault(
    provider: Provider, simulator: MakeSimulator, call: Json
) -> None:
    provider.fault = assistant(tool_calls=[call])
    outcome = run(simulator(agent_model=MODEL))
    assert (outcome.status, outcome.reward) == (Status.AGENT_ERROR, 0.0)
    assert "MalformedToolCall" in outcome.detail


def test_an_agent_may_ask_again_after_malformed_tool_arguments(provider: Provider, simulator: MakeSimulator) -> None:
    """State logic can mend it: this is what the harness is there for."""
    provider.fault, provider.times = assistant(tool_calls=[MALFORMED["not-json"]]), 1
    agent = edited(
        "from autoharness.agent_api import MalformedToolCall\n"
        "try:\n    return turn(self, message, state)\n"
        "except MalformedToolCall:\n    state.messages.pop()\n    return turn(self, message, state)\n"
    )
    assert run(simulator(agent, agent_model=MODEL)).status == Status.PASSED


AGENT_FAULTS = {
    "raises": ("1 / 0", "agent.py:"),
    "exits": ("raise SystemExit", "SystemExit"),
    "kills-its-process": ("import os\nos._exit(7)", "exit code 7"),
    "aborts": ("import os\nos.abort()", "SIGABRT"),
    "returns-none": ("return None", "must return"),
    "returns-a-string": ("return 'hello', state", "AssistantMessage"),
    "returns-no-state": ("return turn(self, message, state)[0]", "must return"),
    "empty": ("answer, state = turn(self, message, state)\nanswer.content = ' '\nreturn answer, state", "empty"),
    "content-is-no-text": (
        "answer, state = turn(self, message, state)\nanswer.content = 7\nreturn answer, state",
        "no text",
    ),
    "arguments-are-a-list": (
        "from autoharness.agent_api import AssistantMessage, ToolCall\n"
        "return AssistantMessage(tool_calls=[ToolCall('create_task', [1])]), state",
        "no dictionary",
    ),
    "a-book": (
        "from autoharness.agent_api import AssistantMessage\nreturn AssistantMessage('x' * 200_000), state",
        "over 100000 bytes",
    ),
    "a-hundred-calls-and-one": (
        "from autoharness.agent_api import AssistantMessage, ToolCall\n"
        "return AssistantMessage(tool_calls=[ToolCall('get_users', {})] * 101), state",
        "over 100 tool calls",
    ),
    "arguments-are-deep": (
        "from autoharness.agent_api import AssistantMessage, ToolCall\nx = {}\n"
        "for _ in range(300):\n    x = {'x': x}\n"
        "return AssistantMessage(tool_calls=[ToolCall('create_task', x)]), state",
        "nested",
    ),
    "not-a-number": (
        "from autoharness.agent_api import AssistantMessage, ToolCall\n"
        "return AssistantMessage(tool_calls=[ToolCall('create_task', {'title': float('nan')})]), state",
        "JSON",
    ),
    "half-a-character": (
        "from autoharness.agent_api import AssistantMessage\nreturn AssistantMessage('\\ud800'), state",
        "surrogates not allowed",
    ),
    "another-model": (
        "from autoharness.agent_api import generate\nreturn generate([message], model='openai/stronger'), state",
        "experiment's model",
    ),
    "another-effort": (
        "from autoharness.agent_api import generate\nreturn generate([message], reasoning_effort='high'), state",
        "reasoning effort",
    ),
    "a-provider's-tool": (
        "from autoharness.agent_api import generate, Tool\n"
        "return generate([message], [Tool({'type': 'web_search'})]), state",
        "a provider's own tools are not taken",
    ),
    "another-endpoint": (
        "from autoharness.agent_api import generate\nreturn generate([message], api_base='http://x'), state",
        "does not take",
    ),
    "argument-of-a-wrong-type": (
        "from autoharness.agent_api import generate\nreturn generate([message], temperature='hot'), state",
        "temperature must be",
    ),
    "writes-into-the-pipe": (
        'import os, sys\nos.write(int(sys.argv[1]), b\'{"id": "x"\\n\')\nreturn turn(self, message, state)',
        "no message",
    ),
    "real-tau2": ("import tau2.registry", "No module named 'tau2.registry'"),
}


@pytest.mark.parametrize(("code", "reason"), AGENT_FAULTS.values(), ids=AGENT_FAULTS)
def test_what_the_agents_code_does_wrong_scores_0(
    provider: Provider, simulator: MakeSimulator, code: str, reason: str
) -> None:
    outcome = run(simulator(edited(code), agent_model=MODEL))
    assert (outcome.status, outcome.reward) == (Status.AGENT_ERROR, 0.0)
    assert reason in outcome.detail
    assert "\n" not in outcome.detail


HANGS = {"sleeps": "import time\ntime.sleep(60)", "spins": "while True:\n    pass", "regex": (
    "import re\nre.match(r'(a+)+$', 'a' * 40 + 'b')  # holds the interpreter's lock"
)}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("code", HANGS.values(), ids=HANGS)
def test_an_agent_that_hangs_times_out(provider: Provider, simulator: MakeSimulator, code: str) -> None:
    outcome = run(simulator(edited(code), agent_model=MODEL, agent_timeout_s=0.5))
    assert (outcome.status, outcome.reward) == (Status.TIMED_OUT, 0.0)


@pytest.mark.slow
def test_waiting_for_the_llm_is_not_the_agents_time(provider: Provider, simulator: MakeSimulator) -> None:
    provider.wait_s = 1.2
    assert run(simulator(agent_model=MODEL, agent_timeout_s=1)).status == Status.PASSED


BROKEN_FILES = {
    "syntax": ("def (", "SyntaxError"),
    "import": ("import nonsense_that_is_not_there", "ModuleNotFoundError"),
    "no-agent": ("HarnessAgent = None", "NoneType"),
    "empty": ("", "HarnessAgent"),
}


@pytest.mark.parametrize(("source", "reason"), BROKEN_FILES.values(), ids=BROKEN_FILES)
def test_an_agent_file_that_does_not_load_scores_0(
    provider: Provider, simulator: MakeSimulator, source: str, reason: str
) -> None:
    outcome = run(simulator(source, agent_model=MODEL))
    assert (outcome.status, outcome.reward) == (Status.AGENT_ERROR, 0.0)
    assert reason in outcome.detail
    assert provider.answered == 0, "nothing was paid for"


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"max_llm_calls": 1}, "1 LLM calls"),
        ({"max_simulation_tokens": 1}, " tokens"),
        ({"max_simulation_cost_usd": 0.0}, "USD"),
    ],
)
def test_a_budget_that_is_spent_is_the_agents_fault(
    provider: Provider, simulator: MakeSimulator, settings: Json, reason: str
) -> None:
    outcome = run(simulator(agent_model=MODEL, **settings))
    assert (outcome.status, outcome.reward) == (Status.AGENT_ERROR, 0.0)
    assert reason in outcome.detail


@pytest.mark.slow
def test_an_infrastructure_failure_does_not_spend_the_budget(provider: Provider, simulator: MakeSimulator) -> None:
    """The attempt after it is answered from memory up to where the first one was, whatever that had cost."""
    undisturbed = run(simulator(agent_model=MODEL)).usage["agent"].tokens
    provider.fault, provider.after, provider.times = Fault(500), 1, 3
    outcome = run(simulator(agent_model=MODEL, simulation_retries=1, max_simulation_tokens=undisturbed))
    assert (outcome.status, len(outcome.notes)) == (Status.PASSED, 1)


@pytest.mark.parametrize("role", ["agent", "user"])
def test_a_model_of_unknown_price_and_a_limit_in_dollars_are_the_users_to_mend(
    provider: Provider, simulator: MakeSimulator, role: str
) -> None:
    """A limit that cannot be counted would be a false promise. The simulation's is for the agent's calls alone."""
    models = {"agent_model": "gpt-4.1", "user_model": "gpt-4.1"} | {f"{role}_model": MODEL}
    with pytest.raises(
        UserError, match=rf"^litellm knows no price for {MODEL}, .* set max_simulation_tokens"
    ) as raised:
        run(simulator(**models, max_run_cost_usd=9.0))
    assert "\n" not in str(raised.value) and provider.answered <= 2
    if role == "user":
        assert run(simulator(**models, max_simulation_cost_usd=9.0)).status == Status.PASSED
    else:
        with pytest.raises(UserError, match="no price"):
            run(simulator(**models, max_simulation_cost_usd=9.0))


def test_a_model_that_does_not_say_what_it_used_and_a_limit_in_tokens_are_the_users_to_mend(
    provider: Provider, simulator: MakeSimulator
) -> None:
    answer = {"role": "assistant", "content": "Hello"}
    provider.fault = Fault(
        body=json.dumps({"object": "chat.completion", "choices": [{"index": 0, "message": answer}]})
    )
    with pytest.raises(UserError, match=r"^gpt-4.1 does not say how many tokens it used"):
        run(simulator(agent_model="gpt-4.1", max_simulation_tokens=1000))


def test_models_of_our_own_cost_nothing_and_that_is_known(simulator: MakeSimulator) -> None:
    limits = {"max_simulation_cost_usd": 1.0, "max_simulation_tokens": 1, "max_run_cost_usd": 1.0}
    assert run(simulator(agent_model="offline/faultless-clerk", **limits)).status == Status.PASSED


def test_an_infrastructure_failure_that_the_agent_swallows_scores_nothing(
    provider: Provider, simulator: MakeSimulator
) -> None:
    provider.fault = Fault(500)
    agent = edited(
        "from autoharness.agent_api import AssistantMessage\n"
        "try:\n    return turn(self, message, state)\n"
        "except BaseException:\n    return AssistantMessage('All done.'), state"
    )
    outcome = run(simulator(agent, agent_model=MODEL))
    assert (outcome.status, outcome.reward) == (Status.PROVIDER_ERROR, None)


def test_one_simulation_that_kills_its_host_does_not_cost_the_others(
    provider: Provider, simulator: MakeSimulator
) -> None:
    tasks = [TASK, "create_task_1_with_env_assertions", "update_task_1", "impossible_task_1"]
    agent = edited("import os\nif 'update' in repr(message):\n    os._exit(1)\nreturn turn(self, message, state)")
    machine = simulator(agent, agent_model=MODEL)
    with ThreadPoolExecutor(4) as pool:
        outcomes = dict(zip(tasks, pool.map(lambda task_id: run(machine, task_id), tasks), strict=True))
    assert outcomes.pop("update_task_1").status == Status.AGENT_ERROR
    assert [outcome.status for outcome in outcomes.values()] == [Status.PASSED] * 3


def test_a_host_that_dies_of_a_signal_without_a_name_between_two_turns_is_the_agents_fault(
    provider: Provider, simulator: MakeSimulator
) -> None:
    """Python has no name for signal 40; what tells how the host ended must not raise, or the trial is void."""
    provider.wait_s = 0.3
    agent = edited(
        "import os, threading, time\n"
        "threading.Thread(target=lambda: (time.sleep(0.05), os.kill(os.getpid(), 40))).start()\n"
        "return turn(self, message, state)"
    )
    outcome = run(simulator(agent, agent_model=MODEL))
    assert (outcome.status, outcome.reward) == (Status.AGENT_ERROR, 0.0)
    assert "signal 40" in outcome.detail
