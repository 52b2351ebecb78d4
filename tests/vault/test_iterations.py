"""The iterations in the vault: read back as they were, no number used twice, no idea paid for twice."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import TEMPLATE
from hypothesis import given
from hypothesis import strategies as st

from autoharness.vault.iterations import (
    REFUSED,
    REJECTED,
    REPEATED,
    Edit,
    Iteration,
    Iterations,
    diff,
    form_of,
    next_iteration,
)
from autoharness.vault.ledger import Ledger
from autoharness.vault.store import Store

EDITED = TEMPLATE.replace("helpful assistant", "helpful and careful assistant")
OTHER = TEMPLATE.replace("self.llm_args = llm_args or {}", "self.llm_args = dict(llm_args or {})")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "vault")


def _tried(store: Store, number: int, before: str, after: str, end: str) -> Iteration:
    iterations = Iterations(store)
    incumbent, agent = (store.keep_agent(source.encode()) for source in (before, after))
    iteration = iterations.save(
        Iteration(number, "measure", incumbent, "main", "scripted", before={"1": 0.0, "2": 1.0})
    )
    edit = Edit(agent, note="an idea", fixes=["1"])
    iteration = iterations.save(replace(iteration, edit=edit, end=end, finished="now"))
    iterations.show_edit(iteration)
    return iteration


def test_it_reads_back_what_was_written_and_shows_the_edit(store: Store) -> None:
    written = _tried(store, 3, TEMPLATE, EDITED, REJECTED)
    iterations = Iterations(store)
    assert iterations.all("measure") == [written] and iterations.all("another") == []
    folder = iterations.folder(3)
    assert (folder / "agent.py").read_text() == EDITED
    assert (folder / "edit.diff").read_text() == iterations.diff(written) == diff(TEMPLATE, EDITED)
    assert "+You are a helpful and careful assistant" in iterations.diff(written)


def test_a_damaged_file_is_put_aside(store: Store) -> None:
    _tried(store, 1, TEMPLATE, EDITED, REJECTED)
    folder = Iterations(store).folder(1)
    (folder / "iteration.json").write_text("{")
    assert Iterations(store).all() == [] and (folder / "iteration.json").exists(), "a reader renames nothing"
    assert str(folder / "iteration.damaged") in Iterations(store).set_aside_damaged()[0]
    assert (folder / "iteration.damaged").exists() and next_iteration(store, Ledger(store)) == 2


@pytest.mark.parametrize(
    "changed",
    [{"started": None}, {"before": []}, {"reasons": None}, {"seconds": "1"}, {"edit": {"note": None}}, {"edit": [1]}],
    ids=str,
)
def test_values_of_other_types_are_damage(changed: dict[str, Any], store: Store) -> None:
    _tried(store, 1, TEMPLATE, EDITED, REJECTED)
    path = Iterations(store).folder(1) / "iteration.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    assert Iterations(store).all() == []


def test_a_field_of_a_later_version_is_left_out(store: Store) -> None:
    _tried(store, 1, TEMPLATE, EDITED, REJECTED)
    before = Iterations(store).all()
    path = Iterations(store).folder(1) / "iteration.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"mood": "good"}))
    assert Iterations(store).all() == before


def test_numbers_go_on_after_a_version_of_any_command(store: Store) -> None:
    assert next_iteration(store, Ledger(store)) == 1
    (store.folder / "iterations" / "0001").mkdir(parents=True)  # a full disk left no more than that
    (store.folder / "iterations" / "0001" / ".iteration.json.0a").write_text("{")
    assert next_iteration(store, Ledger(store)) == 1
    _tried(store, 4, TEMPLATE, EDITED, REJECTED)
    assert next_iteration(store, Ledger(store)) == 5


def test_the_same_edit_of_the_same_version_is_refused_at_once(store: Store) -> None:
    _tried(store, 1, TEMPLATE, EDITED, REJECTED)
    again = _tried(store, 2, TEMPLATE, EDITED, "")
    assert again.edit
    repeated = Iterations(store).repeats(again, again.edit.agent)
    assert repeated == "the same edit was tried in iteration 1: rejected"


def test_an_edit_that_lost_where_it_was_to_win_may_come_again_with_another_prediction(store: Store) -> None:
    iterations, lost = Iterations(store), _tried(store, 1, TEMPLATE, EDITED, REFUSED)
    iterations.save(replace(lost, screening={"1": 0.0}))
    again = _tried(store, 2, TEMPLATE, EDITED, "")
    assert again.edit and "iteration 1: refused" in iterations.repeats(again, again.edit.agent)
    other = replace(again, edit=replace(again.edit, fixes=[]))
    assert iterations.repeats(other, again.edit.agent) == ""
    iterations.save(replace(again, end=REPEATED))
    third = replace(other, number=3)
    assert iterations.repeats(third, again.edit.agent) == "", "that it came again says nothing new"
    same = replace(again, number=3, edit=replace(again.edit, fixes=["1", "2", "no-such-task"]))  # 2 was passed
    assert "iteration 1: refused" in iterations.repeats(same, again.edit.agent)
    iterations.save(replace(lost, screening={}))  # refused for another reason
    assert "iteration 1: refused" in iterations.repeats(other, again.edit.agent)


def test_a_form_that_was_not_kept_twice_is_refused_wherever_it_stands(store: Store) -> None:
    """Each time from another version, so that it is another file."""
    versions = [TEMPLATE, OTHER, f"{TEMPLATE}\n\n# a comment\n"]
    edited = [source.replace("helpful assistant", "helpful and careful assistant") for source in versions]
    _tried(store, 1, versions[0], edited[0], REJECTED)
    second = _tried(store, 2, versions[1], edited[1], REFUSED)
    assert second.edit and Iterations(store).repeats(second, second.edit.agent) == ""
    third = _tried(store, 3, versions[2], edited[2], "")
    assert third.edit
    assert "not kept in iterations 1 and 2" in Iterations(store).repeats(third, third.edit.agent)


LINES = st.lists(
    st.text(st.characters(codec="ascii", exclude_characters="\r\n\x0b\x0c\x1c\x1d\x1e"), max_size=8),
    max_size=12,
    unique=True,
)
"""Each line once: where lines repeat, several diffs are right, and what stands before decides which is found."""


@given(LINES, LINES)
def test_a_form_does_not_depend_on_where_an_edit_stands(before: list[str], after: list[str]) -> None:
    head = [f"line {number}" for number in range(20)]
    here, there = (diff("\n".join([*top, *before]), "\n".join([*top, *after])) for top in ([], head))
    assert (form_of(here) == form_of("")) == (diff_is_blank(here))
    if "\n".join(before) and "\n".join(after):
        assert form_of(here) == form_of(there)


def diff_is_blank(unified: str) -> bool:
    """Whether it changes nothing but empty lines."""
    lines = unified.splitlines()[2:]
    return not any(line[0] in "+-" and line[1:].strip() for line in lines if line)


def test_what_it_fixed_and_broke_and_whether_that_was_foreseen() -> None:
    before = {"1": 0.0, "2": 1.0, "3": 0.0, "4": None}
    after = {"1": 1.0, "2": 0.0, "3": None, "4": 1.0}
    one = Iteration(1, "", "", "", "", before=before, after=after, edit=Edit(fixes=["1", "2", "9"]))
    assert one.reward_changes == (["1"], ["2"]) and one.hits == (1, 2)
    assert Iteration(1, "", "", "", "").hits == (0, 0)
