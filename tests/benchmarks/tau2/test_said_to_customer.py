"""What the customer was told: what reaches him, and no more than anybody listens to."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from conftest import RECORDINGS
from hypothesis import given
from hypothesis import strategies as st
from scripted_talk import Json, ScriptedAgent, Turn, customer

from autoharness.benchmarks.tau2 import said_to_customer
from autoharness.benchmarks.tau2.adapter import Tau2
from autoharness.core.settings import Experiment
from perf.told import LISTINGS, _facts, _here, _listing, _plain, published_messages

FACT = "8276.23"


@pytest.fixture
def talk() -> Callable[..., list[Any]]:
    """tau2's messages of a conversation in which the agent does this."""
    mock = Tau2(Experiment(domain="mock"))

    def talk(*turns: Turn) -> list[Any]:
        from autoharness.benchmarks.tau2.adapter import Limits

        conversation = mock.converse("mock", "create_task_1", 1, Limits(300, 10), ScriptedAgent(*turns), customer, {})
        messages: list[Any] = conversation.simulation.messages
        return messages

    return talk


def _told(messages: list[Any]) -> str:
    return "\n".join(
        one.content for one in said_to_customer.told(messages) if one.role == "assistant" and one.content
    )


def _beside(text: str) -> Json:
    return {"content": text, "tool_calls": [{"id": "1", "name": "get_users", "arguments": {}}]}


def test_what_is_said_is_told(talk: Callable[..., list[Any]]) -> None:
    messages = talk(f"The total is ${FACT}.", ("get_users", {}), "Anything else?")
    assert FACT in _told(messages) and "Anything else?" in _told(messages)
    assert said_to_customer.told(messages) == messages


def test_text_beside_a_tool_call_is_not(talk: Callable[..., list[Any]]) -> None:
    """tau2 hands it to the tools. The conversation that is stored keeps it."""
    messages = talk(_beside(f"The total is ${FACT}."), "Done.")
    assert FACT not in _told(messages)
    assert any(FACT in (one.content or "") for one in messages)
    calls, checked = (
        [getattr(one, "tool_calls", None) for one in every] for every in (messages, said_to_customer.told(messages))
    )
    assert calls == checked, "what was done is checked as ever"


def test_what_nobody_answers_reached_nobody(talk: Callable[..., list[Any]]) -> None:
    """The last words of a conversation that ended before the customer's turn."""
    messages = talk(f"The total is ${FACT}.")
    assert FACT in _told(messages)
    assert FACT not in _told(messages[: next(place for place, one in enumerate(messages) if FACT in one.content) + 1])


@pytest.mark.parametrize(
    "text",
    [
        FACT + " x" * 5000,
        "The reference is " + "0123456789" * 1000 + f", and the total is {FACT}.",
        f"{FACT}, " + ", ".join(map(str, range(1000))),
        f"The total is {FACT}, or perhaps " + " or ".join(f"{number}.50" for number in range(200)),
        f"<!-- {FACT} -->",
        f"<!-- {FACT}",
        "Some figures: " + ", ".join([FACT, *map(str, range(100, 120))]),
        f"Your reference is 1x2x{FACT}x3, which you may want to keep for later, please.",
        "Your reference is " + "x".join([FACT, *map(str, range(100, 120))]),
        "Your reference is " + "or".join([FACT, *map(str, range(100, 120))]),
    ],
    ids=[
        "long",
        "long-as-it-was-sent",
        "many-numbers",
        "prose",
        "a-comment",
        "an-open-comment",
        "numbers-alone",
        "glued",
        "a-word",
        "as-one-word",
    ],
)
def test_a_fact_that_nobody_finds_is_not_told(talk: Callable[..., list[Any]], text: str) -> None:
    assert FACT not in _told(talk(f"Hello. {text}", "Good."))


def test_a_list_over_many_messages_is_told_up_to_a_point(talk: Callable[..., list[Any]]) -> None:
    """Small numbers, such as days and counts; of larger ones fewer are believed."""
    parts = [" or perhaps ".join(f"{at}.{number:02}" for number in range(20)) for at in range(10)]
    heard = _told(talk(*(f"{part}, heard" for part in parts), f"It is {FACT}."))
    assert "0.01" in heard and "9.01" not in heard and FACT not in heard


def test_amounts_that_nobody_had_said_are_told_up_to_a_point(talk: Callable[..., list[Any]]) -> None:
    """Guesses at what two of the amounts that it has heard may come to."""
    guesses = [" It may be ".join(f"{number}.25 or so." for number in range(at, at + 20)) for at in (100, 200, 300)]
    heard = _told(talk(*guesses, f"It is {FACT}."))
    assert "100.25" in heard and "200.25" in heard and "319.25" not in heard and FACT not in heard


def test_talk_without_end_is_told_up_to_a_point(talk: Callable[..., list[Any]]) -> None:
    assert FACT not in _told(talk(*["blah " * 1500] * 6, f"It is {FACT}."))


def test_saying_the_same_numbers_again_is_no_list(talk: Callable[..., list[Any]]) -> None:
    """An agent that sums up in each message."""
    summary = "Your orders: " + ", ".join(f"#W{number}" for number in range(5_000_000, 5_000_060))
    assert FACT in _told(talk(*[summary] * 5, f"The total is ${FACT}."))


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=200))
def test_what_can_be_seen_is_seen(text: str) -> None:
    seen = said_to_customer.visible(text)
    assert said_to_customer.visible(seen) == seen
    assert not text.isascii() or "<!--" in text or seen == text


def test_characters_that_are_not_shown_join_nothing() -> None:
    assert (
        said_to_customer.visible("32\u200b7") == "32 7"
        and said_to_customer.visible("é 😀 \u2013\n") == "é 😀 \u2013\n"
    )


@pytest.mark.parametrize("listing", list(LISTINGS))
def test_an_agent_that_lists_facts_tells_them_to_nobody(tau2: Tau2, listing: str) -> None:
    """tau2's own check passes it on every task."""
    tasks = [(domain, task_id) for domain in ("airline", "retail") for task_id in tau2._tasks(domain)]
    tasks = [one for one in tasks if _facts(tau2, *one)]
    messages = {domain: LISTINGS[listing](_listing(tau2, domain)) for domain in ("airline", "retail")}
    assert all(all(_plain(tau2, *one, messages[one[0]])) for one in tasks) and len(tasks) > 30
    assert not any(all(_here(tau2, *one, messages[one[0]])) for one in tasks)


def test_a_fact_inside_a_longer_number_is_not_told(tau2: Tau2) -> None:
    """A thousand digits hold every number of three. An order's number that is a fact is told whole."""
    from perf.told import _conversation

    task = next(one for one in tau2._tasks("retail") if "746342064230" in _facts(tau2, "retail", one))
    for said, heard in (("746342064230", True), ("1746342064230", False), ("7463420642301", False)):
        messages = _conversation({"content": f"It is #{said}."})
        assert all(_here(tau2, "retail", task, messages)) == heard
    messages = _conversation({"content": "".join(f"{number:03}" for number in range(1000))})
    short = [one for one in tau2._tasks("retail") if _facts(tau2, "retail", one) == ["10"]]
    assert short and not any(all(_here(tau2, "retail", one, messages)) for one in short)


def test_the_judge_reads_what_was_told(tau2: Tau2) -> None:
    from tau2.evaluator.evaluator_nl_assertions import NLAssertionsEvaluator

    from autoharness.benchmarks.tau2.llm_calls import Running, asked_by
    from perf.told import _conversation

    asked: list[str] = []

    def judge(role: str, request: Json) -> Json:
        asked.append(json.dumps(request["messages"]))
        return {"choices": [{"message": {"content": '{"results": []}'}}], "cost_usd": 0.0}

    task = next(one for one in tau2._tasks("mock").values() if one.evaluation_criteria.nl_assertions)
    messages = _conversation({"content": "said beside", "calls": True}, {"content": "said aloud"})
    with asked_by(Running(None, judge)):  # type: ignore[arg-type]
        NLAssertionsEvaluator.calculate_reward(task=task, full_trajectory=messages)
    assert "said aloud" in asked[0] and "said beside" not in asked[0]


@pytest.mark.skipif(not RECORDINGS.exists(), reason="the published recordings are not beside this checkout")
def test_published_conversations_are_told_whole_and_their_checks_stay(tau2: Tau2) -> None:
    """None is near a limit."""
    conversations = list(published_messages())
    assert len(conversations) == 150
    for domain, task_id, messages in conversations:
        assert said_to_customer.told(messages) == messages
        assert _plain(tau2, domain, task_id, messages) == _here(tau2, domain, task_id, messages)
        spoken = [one.content for one in messages if one.role == "assistant" and one.content]
        assert 3 * max(map(len, spoken)) <= said_to_customer.LONGEST_MESSAGE_CHARS
        assert 1.9 * max(len(said_to_customer.numbers(text)) for text in spoken) <= said_to_customer.MOST_NUMBERS
        assert 4 * sum(map(len, spoken)) <= said_to_customer.LONGEST_CONVERSATION_CHARS
        assert 2 * len(set().union(*map(said_to_customer.numbers, spoken))) <= said_to_customer.MOST_NUMBERS_IN_ALL
