"""A real server and a real model: llama.cpp with SmolLM2-135M, as agent and as user simulator.

The model solves nothing. What is tested is whose fault things are, and that nothing is lost.
"""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import TEMPLATE
from llama_server import LlamaServer, needs_llama
from simulations import MODEL, TASK, Json, MakeSimulator, edited, run

from autoharness.core.outcomes import CUT_OFF, Outcome, Status, Trial

pytestmark = [pytest.mark.slow, needs_llama]

SHORT: Json = {"max_tokens": 16, "temperature": 0.0}
EVALUATED = {Status.PASSED, Status.FAILED}


@pytest.fixture(scope="module")
def llama() -> Iterator[LlamaServer]:
    with LlamaServer() as server:
        yield server


def _as_agent(server: LlamaServer, **settings: object) -> Json:
    model = {
        "agent_model": "smol",
        "agent_url": server.url,
        "agent_llm_args": SHORT,
        "user_model": "offline/customer",
    }
    return {**model, "llm_retries": 3, "max_steps": 8, "llm_timeout_s": 120.0, **settings}


def test_it_plays_the_agent_and_is_sent_tools(llama: LlamaServer, simulator: MakeSimulator) -> None:
    outcome = run(simulator(**_as_agent(llama)))
    assert (outcome.status in EVALUATED, outcome.detail) == (True, "")
    assert all(note.startswith(CUT_OFF) for note in outcome.notes)
    assert outcome.usage["agent"].calls > 0 and outcome.usage["agent"].completion_tokens > 0


@pytest.mark.usefixtures("provider")
def test_it_plays_the_user_simulator(llama: LlamaServer, simulator: MakeSimulator) -> None:
    models = {"agent_model": MODEL, "user_model": "smol", "user_url": llama.url, "user_llm_args": SHORT}
    outcome = run(simulator(**models, max_steps=6, llm_retries=3, llm_timeout_s=120.0))
    assert (outcome.status in EVALUATED, outcome.detail) == (True, "")
    assert outcome.usage["user"].completion_tokens > 0


def test_tool_calls_and_results_of_earlier_turns_are_taken(llama: LlamaServer, simulator: MakeSimulator) -> None:
    agent = edited(
        "from autoharness.agent_api import AssistantMessage, ToolCall, UserMessage\n"
        "if isinstance(message, UserMessage):\n"
        "    answer = AssistantMessage(tool_calls=[ToolCall('get_users', {})])\n"
        "    state.messages += [message, answer]\n"
        "    return answer, state\n"
        "return turn(self, message, state)\n"
    )
    outcome = run(simulator(agent, **_as_agent(llama)))
    assert (outcome.status in EVALUATED, outcome.detail) == (True, "")
    assert any(message["role"] == "tool" for message in outcome.messages)


def test_more_conversations_than_slots_wait_for_each_other(llama: LlamaServer, simulator: MakeSimulator) -> None:
    made = simulator(**_as_agent(llama, max_steps=4))
    with ThreadPoolExecutor(4) as threads:
        outcomes = list(threads.map(lambda number: made.run(Trial(TASK, number, number), False), range(4)))
    assert {(outcome.status in EVALUATED, outcome.detail) for outcome in outcomes} == {(True, "")}


def test_a_prompt_beyond_its_context_is_the_agents_fault(llama: LlamaServer, simulator: MakeSimulator) -> None:
    outcome = run(
        simulator(TEMPLATE.replace("You are a helpful", "word " * 5000 + "You are a helpful"), **_as_agent(llama))
    )
    assert (outcome.status, outcome.reward) == (Status.AGENT_ERROR, 0.0)
    assert "too long for the model" in outcome.detail


def test_a_context_below_the_first_request_is_told_in_figures(simulator: MakeSimulator) -> None:
    with LlamaServer(ctx=1024) as server:
        models = {"user_model": "smol", "user_url": server.url, "user_llm_args": SHORT}
        outcome = run(simulator(**_as_agent(server, domain="airline", **models)), "0")
    assert (outcome.status, outcome.reward) == (Status.SETUP_ERROR, None)
    assert "(it takes 1024 tokens for each conversation, and this needs " in outcome.detail


def test_a_server_that_crashes_and_comes_back_costs_nothing(simulator: MakeSimulator) -> None:
    with LlamaServer() as server:
        made = simulator(**_as_agent(server, llm_retries=6))
        found: list[Outcome] = []
        running = threading.Thread(target=lambda: found.append(run(made)))
        running.start()
        while running.is_alive() and not server.is_answering():
            time.sleep(0.01)
        server.kill()
        running.join(2)
        assert running.is_alive()
        server.start()
        running.join()
    assert (found[0].status in EVALUATED, found[0].detail) == (True, "")
