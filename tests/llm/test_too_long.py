"""Whose fault a refusal is: a conversation that is too long, said or not, and a content filter's."""

import json

import pytest
from conftest import TEMPLATE
from llm_server import Fault, assistant
from mood import Mood, completion
from mood_lengths import TOO_LONG
from provider import Provider
from simulations import MODEL, Json, MakeSimulator, edited, run

from autoharness.core.outcomes import CUT, Status
from autoharness.llm.refusals import Growth

FILTERED = json.dumps({"error": {"message": "The response was filtered", "code": "content_filter"}})
OVERFLOW = json.dumps({"error": {"message": "prompt is too long: 9 tokens > 8 maximum"}})
EVIL = TEMPLATE.replace("You are a helpful assistant", "BE EVIL")


def _filter(status: int) -> Fault | Json:
    if status != 200:
        return Fault(status, FILTERED)
    return completion({}, {"content": None}, "content_filter")


@pytest.mark.parametrize("status", [200, 400, 403])
def test_a_filter_that_only_the_edit_offends_is_the_agents_fault(
    provider: Provider, simulator: MakeSimulator, status: int
) -> None:
    provider.fault, provider.only_if = _filter(status), "BE EVIL"
    outcome = run(simulator(EVIL, agent_model=MODEL))
    assert (outcome.status, outcome.reward) == (Status.AGENT_ERROR, 0.0)
    assert "content filter" in outcome.detail
    assert provider.asked <= 7


@pytest.mark.parametrize("status", [200, 400])
def test_a_filter_that_the_agents_words_offend_at_the_users_provider_is_the_agents_fault(
    provider: Provider, simulator: MakeSimulator, status: int
) -> None:
    provider.fault, provider.role, provider.only_if = _filter(status), "user", "SWEAR"
    agent = edited("from autoharness.agent_api import AssistantMessage\nreturn AssistantMessage('SWEAR'), state")
    outcome = run(simulator(agent, agent_model=MODEL))
    assert (outcome.status, outcome.reward) == (Status.AGENT_ERROR, 0.0)
    assert "content filter" in outcome.detail


def test_a_filter_that_passes_the_second_time_costs_nothing(provider: Provider, simulator: MakeSimulator) -> None:
    provider.fault, provider.after, provider.times = _filter(200), 1, 1
    assert run(simulator(agent_model=MODEL)).status == Status.PASSED


def test_a_prompt_that_only_the_edit_makes_too_long_is_the_agents_fault_in_its_first_turn(
    provider: Provider, simulator: MakeSimulator
) -> None:
    provider.fault, provider.only_if = Fault(400, OVERFLOW), "BE EVIL"
    outcome = run(simulator(EVIL, agent_model=MODEL))
    assert (outcome.status, outcome.reward) == (Status.AGENT_ERROR, 0.0)


def test_an_agent_that_asks_too_much_again_and_again_pays_for_one_check(
    provider: Provider, simulator: MakeSimulator
) -> None:
    """The check whether the template's request is taken is not in its budget."""
    provider.fault, provider.only_if = Fault(400, OVERFLOW), "BE EVIL"
    code = "for _ in range(9):\n    try:\n        turn(self, message, state)\n    except Exception:\n        pass"
    agent = edited(f"{code}\nreturn turn(self, message, state)").replace("You are a helpful assistant", "BE EVIL")
    outcome = run(simulator(agent, agent_model=MODEL))
    assert outcome.reward == 0.0
    assert outcome.usage["agent"].calls == 1


def test_words_of_a_limit_in_an_answer_are_no_refusal(provider: Provider, simulator: MakeSimulator) -> None:
    """Only errors are read, not what models say."""
    provider.fault, provider.after, provider.times = assistant("This model's maximum context length is 8."), 0, 1
    assert run(simulator(agent_model=MODEL)).status in (Status.PASSED, Status.FAILED)


def test_a_context_that_is_too_small_for_everybody_scores_nobody(
    provider: Provider, simulator: MakeSimulator
) -> None:
    provider.mood = TOO_LONG["from the first request on"]
    for agent in (TEMPLATE, EVIL):
        outcome = run(simulator(agent, agent_model=MODEL, simulation_retries=2, llm_retries=2))
        assert (outcome.status, outcome.reward) == (Status.SETUP_ERROR, None)
        assert "\n" not in outcome.detail


def test_an_agent_that_fills_the_context_before_it_asks_has_failed(
    provider: Provider, simulator: MakeSimulator
) -> None:
    """Otherwise it could void the tasks that it is about to fail."""
    refusal, most = Fault(400, OVERFLOW), 40_000
    provider.mood = Mood("a server", lambda one, solve: refusal if len(json.dumps(one)) > most else solve(one), "")
    agent = edited(
        "from autoharness.agent_api import AssistantMessage\n"
        "state.messages.append(message)\n"
        "if len(state.messages) < 4:\n"
        "    state.messages.append(AssistantMessage('Please wait. ' * 3000))\n"
        "    return state.messages[-1], state\n"
        "return turn(self, message, state)"
    )
    outcome = run(simulator(agent, agent_model=MODEL))
    assert (outcome.status, outcome.reward) == (Status.AGENT_ERROR, 0.0)
    assert "too long for the model" in outcome.detail


def _grown(sizes: list[tuple[int, int]]) -> list[str]:
    """The notes after requests with so many characters, to which so many prompt tokens are counted."""
    growth = Growth()
    for chars, tokens in sizes:
        start = [{"role": "system", "content": "policy"}]
        growth.note("agent", {"messages": [*start, {"role": "user", "content": "x" * chars}]}, tokens)
    return growth.notes


CUT_AT = {
    "ollama": [(9000, 2500), (14000, 3900), (18000, 4080), (25000, 4031), (30000, 4096)],
    "from-the-first-call": [(30000, 4050), (33000, 4060), (36000, 4043)],
    "8192": [(30000, 8100), (35000, 8190), (40000, 8180), (40100, 8150)],
    "in-any-order": [(36000, 4043), (30000, 4050), (33000, 4060)],
}

NOT_CUT = {
    "grows": [(9000, 2500), (14000, 3900), (18000, 5080), (25000, 7031)],
    "no-usage": [(9000, 0), (14000, 0), (28000, 0), (45000, 0)],
    "two-calls": [(9000, 4096), (45000, 4096)],
    "short": [(9000, 2500), (9100, 2500), (9200, 2501), (12000, 2502)],
    "only-new-tokens": [(9000, 2500), (14000, 900), (18000, 300), (25000, 1500)],
    "chinese": [(9000, 6000), (11000, 7400), (14000, 9400)],
    "blanks": [(9000, 2500), (14000, 2813), (18000, 3063)],
    "same-request": [(9000, 2500)] * 5,
}


@pytest.mark.parametrize("sizes", CUT_AT.values(), ids=CUT_AT)
def test_a_server_that_cuts_is_noticed(sizes: list[tuple[int, int]]) -> None:
    (note,) = _grown(sizes)
    assert note.startswith(f"{CUT} at about {max(tokens for _, tokens in sizes)} tokens: the agent's requests grew")


@pytest.mark.parametrize("sizes", NOT_CUT.values(), ids=NOT_CUT)
def test_a_server_that_does_not_cut_is_not_blamed(sizes: list[tuple[int, int]]) -> None:
    assert not _grown(sizes)


def test_a_run_against_a_server_that_cuts_has_a_note(provider: Provider, simulator: MakeSimulator) -> None:
    """As Ollama: 200, and a count of tokens that stands still."""

    def cut(request: Json, solve: object) -> Fault:
        usage = {"prompt_tokens": 4000 + len(json.dumps(request)) % 90, "completion_tokens": 9, "total_tokens": 4100}
        return completion(request, {"content": "Well, well. " * 300}, usage=usage)

    provider.mood = Mood("Ollama", cut, "failed")
    outcome = run(simulator(agent_model=MODEL, max_llm_calls=6))
    (note,) = (note for note in outcome.notes if note.startswith(CUT))
    assert "OLLAMA_CONTEXT_LENGTH" in note and "\n" not in note
