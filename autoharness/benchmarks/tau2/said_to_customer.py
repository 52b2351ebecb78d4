"""What the customer was told: the agent's words that tau2's checks and its judge may count.

Text is told if it is in a message that reaches the customer, unless the message, or the agent's messages together,
hold far more than anybody listens to, or numbers without the words that they belong to. Text beside tool calls is not
told: tau2 hands such a message to the tools, and the customer never sees it. tau2 itself counts it, so an agent that
lists every number there, and never speaks, passes its checks. The limits are at least about twice the most in any of
150 published conversations (docs/tau2.md).

The stored conversation, and what the tools did, are not changed. What this does not see: which of a few facts in a
short message was guessed.
"""

import re
import unicodedata
from typing import Any

LONGEST_MESSAGE_CHARS = 8_000
MOST_NUMBERS = 100
"""Different numbers in a message."""
LONGEST_CONVERSATION_CHARS = 40_000
MOST_NUMBERS_IN_ALL = 140
"""Different numbers in the agent's messages up to and including the current one."""
MOST_UNHEARD = 40
"""Different amounts that no tool and no customer had said: the agent worked them out, or guessed. An amount is 100 or
more, or has decimals."""
FEWEST_WORDS, FROM_NUMBERS = 0.75, 4
"""Words for each number of a message, if it has more different numbers than `FROM_NUMBERS`."""
_LONGEST_WORD_CHARS = 100
"""The longest word with digits in it."""
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_WORD = re.compile(r"[^\W\d_]{2,}")
_COMMENT = re.compile(r"<!--.*?(?:-->|$)", re.DOTALL)
_UNREADABLE = re.compile(rf"\S{{{_LONGEST_WORD_CHARS + 1},}}|\d[\d.,]*(?:[^\W\d_]+\d[\d.,]*){{3,}}")
"""A word that nobody reads: a long one, or four or more numbers with letters between them."""
_INVISIBLE = {"Cf", "Co", "Cn", "Cs"}


def install(communicate_evaluator: Any, judge_evaluator: Any) -> None:
    """Patch tau2's classes that check the agent's words. Once for each process."""
    communicated_in = communicate_evaluator.calculate_reward.__func__
    judged_in = judge_evaluator.calculate_reward.__func__

    def communicated(cls: Any, /, task: Any, full_trajectory: list[Any], **named: Any) -> Any:
        facts = (task.evaluation_criteria and task.evaluation_criteria.communicate_info) or []
        heard = [_whole(one, facts) for one in told(full_trajectory)] if facts else full_trajectory
        return communicated_in(cls, task=task, full_trajectory=heard, **named)

    def judged(cls: Any, /, task: Any, full_trajectory: list[Any], **named: Any) -> Any:
        return judged_in(cls, task=task, full_trajectory=told(full_trajectory), **named)

    communicate_evaluator.calculate_reward = classmethod(communicated)
    judge_evaluator.calculate_reward = classmethod(judged)


def told(messages: list[Any]) -> list[Any]:
    """tau2's messages; the agent's content is None if the customer was told nothing."""
    last_answer = max((place for place, one in enumerate(messages) if one.role == "user"), default=-1)
    heard, told_chars, told_numbers = [], 0, set[str]()
    known, unheard = set[float](), set[float]()
    for place, message in enumerate(messages):
        if message.role != "assistant" or not message.content:
            known |= amounts(message.content or "")
            heard.append(message)
            continue
        text = visible(message.content)
        is_short = len(message.content) <= LONGEST_MESSAGE_CHARS  # as it was sent: nobody reads to the end of more
        reached = not message.tool_calls and place < last_answer and is_short and not _lists_numbers(text)
        if reached:
            told_chars += len(text)
            told_numbers |= numbers(text)
            unheard |= amounts(text) - known
        enough = told_chars > LONGEST_CONVERSATION_CHARS or len(told_numbers) > MOST_NUMBERS_IN_ALL
        enough = enough or len(unheard) > MOST_UNHEARD
        heard.append(_with(message, text if reached and not enough else None))
    return heard


def amounts(text: str) -> set[float]:
    """Numbers that are not a count or a day: from 100 on, and those with decimals."""
    found = set(map(float, _NUMBER.findall(text.replace(",", ""))))
    return {number for number in found if number >= 100 or number != int(number)}


def _lists_numbers(text: str) -> bool:
    """Whether a message tells nobody anything: it lists too many numbers, or nothing else."""
    found = len(numbers(text))
    return found > MOST_NUMBERS or (found > FROM_NUMBERS and words_to_a_number(text) < FEWEST_WORDS)


def words_to_a_number(text: str) -> float:
    """Words per number; the text must have a number."""
    return len(_WORD.findall(text)) / len(_NUMBER.findall(text))


def numbers(text: str) -> set[str]:
    """The numbers as written, and as tau2 reads them: without commas."""
    return {*_NUMBER.findall(text), *_NUMBER.findall(text.replace(",", ""))}


def visible(text: str) -> str:
    """The text without HTML comments, invisible characters, and digits in words that nobody reads."""
    text = _COMMENT.sub(" ", text)
    if not text.isascii():
        text = "".join(" " if unicodedata.category(char) in _INVISIBLE else char for char in text)
    return _UNREADABLE.sub(lambda word: "#" if _NUMBER.search(word[0]) else word[0], text)


def _whole(message: Any, facts: list[str]) -> Any:
    """The message without numbers that only contain a fact: tau2 searches for facts anywhere, and a few long numbers
    contain all facts of two digits."""
    if message.role != "assistant" or not message.content:
        return message
    wanted = {number for fact in facts for number in _NUMBER.findall(fact)}

    def masked(found: re.Match[str]) -> str:
        only_holds = any(one in found[0] and float(one) != float(found[0]) for one in wanted)
        return "#" if only_holds and found[0] not in wanted else found[0]

    return _with(message, _NUMBER.sub(masked, message.content.replace(",", "")))  # so does tau2


def _with(message: Any, content: str | None) -> Any:
    return message if message.content == content else message.model_copy(update={"content": content})
