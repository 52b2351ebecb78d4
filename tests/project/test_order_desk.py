"""The order desk of `make demo-real`, without its model: right answers are right, and each edit has its place."""

import importlib
import json
from types import ModuleType

import pytest
from conftest import ROOT, TEMPLATE

from autoharness.loop.screening import problem_of


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    return importlib.import_module("order_desk")


def test_right_answers_are_read_exactly(example: ModuleType) -> None:
    for asked, answer in example.TASKS.values():
        assert example._is_right(answer, answer) and not example._is_right(f"{answer}.", answer), asked
    order = {"city": "Oslo", "quantity": 7, "item": "mug"}
    assert example._is_right(json.dumps(order, indent=1), '{"item": "mug", "quantity": 7, "city": "Oslo"}')


def test_half_of_each_kind_is_held_out(example: ModuleType) -> None:
    splits = example.OrderDesk.splits(example.OrderDesk)
    assert {name: len(ids) for name, ids in splits.items()} == {"train": 48, "test": 48}
    kinds = [sorted({task.partition("-")[0] for task in ids}) for ids in splits.values()]
    assert kinds[0] == kinds[1] == sorted(example.KINDS)
    questions = [{example.TASKS[task][0] for task in ids} for ids in splits.values()]
    assert not questions[0] & questions[1]


def test_its_edits_apply_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    bank = importlib.import_module("order_desk_edits").BANK
    source = TEMPLATE
    for edit in bank:
        if edit.name != "cheat-answers":  # reads what a coding agent is given
            assert problem_of(edit.apply(TEMPLATE).encode(), TEMPLATE) == ""
            source = edit.apply(source)
    compile(source, "agent.py", "exec")
    with pytest.raises(ValueError, match="no place"):
        bank[0].apply(source)
