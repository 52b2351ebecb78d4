"""What an unfinished simulation has said: kept line by line, and what a further try finds of it."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_disk import on_a_disk

from autoharness.core.outcomes import Usage
from autoharness.llm.call_journal import AGENT, Journal

USER = "user"


def answer(text: str) -> dict[str, Any]:
    return {"choices": [{"message": {"content": text}}]}


def filled(file: Path | None = None) -> Journal:
    """Two turns: in the first the agent asked twice the same, in the second it was refused once."""
    journal = Journal(file)
    journal.note_answer(USER, "u1", answer("hello"))
    journal.begin_turn()
    for text in ("one", "two"):
        journal.make("same")
        journal.note_answer(AGENT, "same", answer(text))
    journal.note_said("heard 1", {"content": "I said one", "tool_calls": []})
    journal.begin_turn()
    journal.make("bad")
    journal.note_refusal(AGENT, "bad", "no such words")
    journal.make("good")
    journal.note_answer(AGENT, "good", answer("three"))
    return journal


def text_of(known: Any) -> Any:
    return known and (known.refused or known.answer["choices"][0]["message"]["content"])


def found(journal: Journal, *requests: str) -> list[Any]:
    """What the agent is answered, if it makes these."""
    return [text_of(journal.recall(AGENT, one, journal.make(one))) for one in requests]


def found_of_user(journal: Journal, *requests: str) -> list[Any]:
    return [text_of(journal.recall(USER, one)) for one in requests]


def test_nothing_is_asked_for_whose_answer_has_no_room_on_the_disk(tmp_path: Path) -> None:
    """And what is asked for has its room, even if the disk fills up meanwhile."""
    script = """
from autoharness.core.errors import UserError
from autoharness.llm.call_journal import AGENT, Journal
file = disk.folder / "unfinished" / "x.jsonl"
journal = Journal(file)
assert journal.recall(AGENT, "asked") is None
assert file.stat().st_size < 1000
with disk.filled():
    journal.note_answer(AGENT, "asked", {"text": "x" * 40_000})
    try:
        journal.recall(AGENT, "more")
    except UserError as error:
        print(error)
journal.close()
print(len(Journal(file).answers_of(AGENT)[0]["text"]))
"""
    done = on_a_disk(tmp_path / "disk", 1, script)
    full = f"{tmp_path / 'disk' / 'unfinished'}: the disk is full: make room there, and the same command goes on"
    assert done.stdout.splitlines() == [full, "40000"], done.stderr


def test_the_room_that_was_not_needed_is_given_back(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "unfinished" / "x.jsonl")
    journal.recall(AGENT, "asked")
    held = (tmp_path / "unfinished" / "x.jsonl").stat()
    journal.close()
    left = (tmp_path / "unfinished" / "x.jsonl").stat()
    assert left.st_size == held.st_size and left.st_blocks <= held.st_blocks and left.st_blocks * 512 <= 8192


@pytest.mark.parametrize("reopened", [True, False], ids=["by another process", "by this one"])
def test_a_further_try_is_answered_what_the_first_one_was(tmp_path: Path, reopened: bool) -> None:
    journal = filled(tmp_path / "unfinished" / "x.jsonl")
    begun_ns = journal.begun_ns
    if reopened:
        journal.close()
        journal = Journal(tmp_path / "unfinished" / "x.jsonl")
    assert journal.begun_ns == begun_ns, "tools read the same time"
    journal.rewind()
    assert found_of_user(journal, "u1", "u1") == ["hello", None]
    journal.begin_turn()
    assert found(journal, "same", "same", "same") == ["one", "two", None]
    assert journal.said_before() == ("heard 1", {"content": "I said one", "tool_calls": []})
    journal.begin_turn()
    assert found(journal, "bad", "good", "more") == ["no such words", "three", None]
    assert journal.said_before() is None


def test_an_agent_that_asks_in_other_words_is_answered_by_place() -> None:
    """A date in its prompt may have changed. For the user simulator a request is the same or it is not."""
    journal = filled()
    journal.rewind()
    journal.begin_turn()
    assert found(journal, "other", "words", "more") == ["one", "two", None]
    assert found_of_user(journal, "other") == [None]


def test_a_request_that_was_never_answered_does_not_get_another_ones_answer() -> None:
    """Two threads ask at once: the first request met an outage, the second was answered."""
    journal = Journal()
    journal.begin_turn()
    journal.make("guard")
    journal.make("draft")
    journal.note_answer(AGENT, "draft", answer("a draft"))
    journal.rewind()
    journal.begin_turn()
    assert found(journal, "guard, a second later", "draft, a second later") == [None, "a draft"]


@pytest.mark.parametrize("reopened", [True, False], ids=["by another process", "by this one"])
def test_a_conversation_that_is_had_anew_has_other_words(tmp_path: Path, reopened: bool) -> None:
    journal = filled(tmp_path / "x.jsonl")
    journal.note_said("heard 2", {"content": "I said three", "tool_calls": []})
    journal.go_plain("a tool changed shared records")
    journal.rewind()
    journal.begin_turn()
    journal.begin_turn()
    journal.forget_words()
    if reopened:
        journal.close()
        journal = Journal(tmp_path / "x.jsonl")
    assert (journal.plain, journal.failures) == ("a tool changed shared records", 1)
    journal.rewind()
    journal.begin_turn()
    assert journal.said_before() == ("heard 1", {"content": "I said one", "tool_calls": []})
    journal.begin_turn()
    assert journal.said_before() is None


@pytest.mark.slow
def test_what_was_of_no_use_is_asked_again(tmp_path: Path) -> None:
    journal = filled(tmp_path / "x.jsonl")
    journal.forget(USER)
    journal.close()
    for one in (journal, Journal(tmp_path / "x.jsonl")):
        one.rewind()
        assert found_of_user(one, "u1") == [None]


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_kill_at_any_byte_loses_at_most_the_line_that_was_being_written(data: st.DataObject) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "x.jsonl"
        filled(file).close()
        whole = file.read_bytes()
        cut = data.draw(st.integers(0, len(whole)))
        file.write_bytes(whole[:cut])
        lines = [line for line in whole[:cut].split(b"\n") if line]
        known = Journal(file)
        assert sum("answer" in json.loads(line) for line in lines if _whole(line)) == len(
            known.answers_of(AGENT) + known.answers_of(USER)
        )
        known.note_answer(AGENT, "after", answer("the kill"))
        known.close()
        assert answer("the kill") in Journal(file).answers_of(AGENT)


def _whole(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def test_a_folder_that_takes_no_file_costs_the_file_and_not_the_simulation(tmp_path: Path) -> None:
    (tmp_path / "no-folder").write_text("")
    journal = filled(tmp_path / "no-folder" / "x.jsonl")
    journal.rewind()
    assert found_of_user(journal, "u1") == ["hello"]


def test_failures_are_counted_by_all_tries_together_and_a_kill_is_none(tmp_path: Path) -> None:
    killed = filled(tmp_path / "x.jsonl")
    killed.note_failure("the user simulator says nothing")
    killed.close()
    killed = Journal(tmp_path / "x.jsonl")
    killed.rewind()
    killed.close()
    assert killed.failures == Journal(tmp_path / "x.jsonl").failures == 1


def test_what_no_outcome_has_told_of_is_still_to_be_told(tmp_path: Path) -> None:
    file = tmp_path / "unfinished" / "x.jsonl"
    journal = Journal(file)
    journal.note_paid(AGENT, Usage(calls=1, cost_usd=0.5))
    journal.note_reported()
    journal.note_paid(USER, Usage(calls=1, prompt_tokens=7))
    journal.note_paid(AGENT, Usage(calls=1, cost_usd=0.25))
    journal.close()
    with file.open("a") as later:
        later.write('{"paid": "agent", "usage": {"calls": 1, "of a later version": 1}}\n')
    assert Journal(file).unreported == [
        (USER, Usage(calls=1, prompt_tokens=7)),
        (AGENT, Usage(calls=1, cost_usd=0.25)),
        (AGENT, Usage(calls=1)),
    ]
