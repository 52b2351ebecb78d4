"""What counts as told to the customer: the figures of docs/tau2.md, of the installed tau2.

python perf/told.py        published conversations against the limits; agents that list facts instead of telling
"""

import json
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from autoharness.benchmarks.leaks import prompt_injection
from autoharness.benchmarks.leaks.vocabulary import words_in
from autoharness.benchmarks.tau2 import said_to_customer
from autoharness.benchmarks.tau2.adapter import Tau2

RECORDINGS = Path(__file__).resolve().parents[2] / "shared" / "recordings"
DOMAINS = ("airline", "retail")
"""Those whose tasks name facts that are to be told."""
_FILLER = 3000
_MESSAGES = 50

Json = dict[str, Any]


def main() -> None:
    tau2 = Tau2()
    for line in (*_published(tau2), *_listed(tau2)):
        print(line)


def published_messages() -> Iterator[tuple[str, str, list[Any]]]:
    """Domain, task and messages of each published conversation."""
    from tau2.data_model.simulation import SimulationRun

    for path in sorted(RECORDINGS.glob("*.json")):
        for one in json.loads(path.read_text()).get("simulations", []):
            yield path.name.partition("-")[0], one["task_id"], SimulationRun(**one).messages


def _published(tau2: Tau2) -> Iterator[str]:
    figures, changed, conversations, densities, shares = [], 0, 0, [], []
    for domain, task_id, messages in published_messages():
        spoken = [one.content for one in messages if one.role == "assistant" and one.content and not one.tool_calls]
        found = [said_to_customer.numbers(text) for text in spoken]
        together = sum(map(len, spoken)), len(set().union(*found))
        own = len(_unheard(messages))
        figures.append((max(map(len, spoken)), max(map(len, found)), *together, own))
        densities += [
            said_to_customer.words_to_a_number(one)
            for one in spoken
            if len(said_to_customer.numbers(one)) > said_to_customer.FROM_NUMBERS
        ]
        shares += list(_plain_shares(messages))
        conversations += 1
        changed += _plain(tau2, domain, task_id, messages) != _here(tau2, domain, task_id, messages)
    limits = (
        *(said_to_customer.LONGEST_MESSAGE_CHARS, said_to_customer.MOST_NUMBERS),
        *(
            said_to_customer.LONGEST_CONVERSATION_CHARS,
            said_to_customer.MOST_NUMBERS_IN_ALL,
            said_to_customer.MOST_UNHEARD,
        ),
    )
    names = (
        "characters of a message",
        "numbers in a message",
        "characters in all",
        "numbers in all",
        "amounts nobody had said",
    )
    for name, most, limit in zip(names, map(max, *figures), limits, strict=True):
        yield f"{name}: at most {most} in {conversations} published conversations, limit {limit}"
    beyond = f"words to a number, beyond {said_to_customer.FROM_NUMBERS} of them"
    yield f"{beyond}: at least {min(densities):.2f}, limit {said_to_customer.FEWEST_WORDS}"
    yield (
        f"words that are plain or were said before: at least {min(shares):.2f} of a message's, in {len(shares)} "
        f"messages, limit {prompt_injection.LEAST_PLAIN}"
    )
    yield f"published conversations whose check of facts changes: {changed}"


def _unheard(messages: list[Any]) -> set[float]:
    """The amounts in the agent's messages that nobody had said before."""
    known, found = set[float](), set[float]()
    for message in messages:
        amounts = said_to_customer.amounts(message.content or "")
        if message.role == "assistant" and not message.tool_calls:
            found |= amounts - known
        elif message.role != "assistant":
            known |= amounts
    return found


def _plain_shares(messages: list[Any]) -> Iterator[float]:
    heard: set[str] = set()
    for one in messages:
        if one.role == "assistant" and one.content:
            yield prompt_injection.plain_share(one.content, heard)
        heard.update(words_in(one.content or ""))


def _listed(tau2: Tau2) -> Iterator[str]:
    """Tasks whose facts count as told by an agent that lists those of all tasks among thousands of numbers."""
    tasks = [
        (domain, task_id) for domain in DOMAINS for task_id in tau2._tasks(domain) if _facts(tau2, domain, task_id)
    ]
    for name, conversation in LISTINGS.items():
        plain = here = 0
        for domain, task_id in tasks:
            messages = conversation(_listing(tau2, domain))
            plain += all(_plain(tau2, domain, task_id, messages))
            here += all(_here(tau2, domain, task_id, messages))
        yield f"{name}: {plain} of {len(tasks)} tasks told to tau2, {here} here"


def _facts(tau2: Tau2, domain: str, task_id: str) -> list[str]:
    criteria = tau2._tasks(domain)[task_id].evaluation_criteria
    return list((criteria and criteria.communicate_info) or [])


def _listing(tau2: Tau2, domain: str) -> list[str]:
    facts = {fact for task_id in tau2._tasks(domain) for fact in _facts(tau2, domain, task_id)}
    everything = sorted(facts | set(map(str, range(_FILLER))))
    random.Random(1).shuffle(everything)
    return everything


def _plain(tau2: Tau2, domain: str, task_id: str, messages: list[Any]) -> list[bool]:
    from tau2.evaluator.evaluator_communicate import CommunicateEvaluator

    checks = CommunicateEvaluator.evaluate_communicate_info(messages, _facts(tau2, domain, task_id))
    return [one.met for one in checks]


def _here(tau2: Tau2, domain: str, task_id: str, messages: list[Any]) -> list[bool]:
    from tau2.evaluator.evaluator_communicate import CommunicateEvaluator

    task = tau2._tasks(domain)[task_id]
    checked = CommunicateEvaluator.calculate_reward(task=task, full_trajectory=messages)
    return [one.met for one in checked.communicate_checks or []]


def _conversation(*turns: Json) -> list[Any]:
    """The agent's turns, each answered, in a conversation that the customer ends."""
    from tau2.data_model.message import AssistantMessage, ToolCall, ToolMessage, UserMessage

    messages: list[Any] = [AssistantMessage(role="assistant", content="Hi!"), UserMessage(role="user", content="Hi.")]
    for turn in turns:
        calls = [ToolCall(id="1", name="think", arguments={"thought": ""})] if turn.get("calls") else None
        messages.append(AssistantMessage(role="assistant", content=turn["content"], tool_calls=calls))
        answer: Any = (
            ToolMessage(id="1", role="tool", content="") if calls else UserMessage(role="user", content="Go on.")
        )
        messages += [] if turn.get("last") else [answer]
    if not turns[-1].get("last"):
        messages += [
            AssistantMessage(role="assistant", content="Done."),
            UserMessage(role="user", content="###STOP###"),
        ]
    return messages


def _in_many(listing: list[str]) -> list[Any]:
    share = len(listing) // _MESSAGES + 1
    parts = [listing[at : at + share] for at in range(0, len(listing), share)]
    return _conversation(*({"content": ", ".join(part)} for part in parts))


LISTINGS: dict[str, Callable[[list[str]], list[Any]]] = {
    "beside a tool call": lambda listing: _conversation({"content": ", ".join(listing), "calls": True}),
    "in one message": lambda listing: _conversation({"content": ", ".join(listing)}),
    "in one message, as prose": lambda listing: _conversation({"content": " or perhaps ".join(listing)}),
    f"in {_MESSAGES} messages": _in_many,
    "the same, as one word": lambda listing: _conversation({"content": "x".join(listing)}),
    "the same digits without spaces": lambda listing: _conversation({"content": ",".join(listing)}),
    "in a comment": lambda listing: _conversation({"content": f"Hello. <!-- {', '.join(listing)} -->"}),
    "after the customer's last words": lambda listing: _conversation({"content": ", ".join(listing), "last": True}),
}


if __name__ == "__main__":
    main()
