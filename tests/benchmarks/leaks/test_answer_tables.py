"""A table of the benchmark's answers is refused, in whatever way it is written; an honest edit is not.

The tables are made here, from tau2's tasks. `perf/leak_scan.py` measures how much an edit can carry.
"""

import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from answer_tables import ENCODINGS, answers, carrying, data_of, packed
from conftest import ROOT, TEMPLATE
from honest_edits import HONEST

from autoharness.benchmarks.leaks.forbidden_uses import problem_of
from autoharness.benchmarks.leaks.leak_scan import scan
from autoharness.benchmarks.leaks.records import Secrets
from autoharness.benchmarks.tau2.adapter import Tau2

TEMPLATES = sorted((ROOT / "agent" / "templates").glob("*.py"))


@pytest.fixture(scope="module")
def secrets(tau2: Tau2) -> Callable[[str], Secrets]:
    return cache(lambda domain: Secrets.of(tau2.material(domain)))


@pytest.fixture(scope="module")
def table(tau2: Tau2) -> bytes:
    """What the 40 held-out tasks of retail ask to be changed, packed: some 1,500 bytes."""
    held_out = set(tau2.facts("retail").splits["test"])
    tasks = [task for task in tau2.material("retail")["tasks"] if task["id"] in held_out]
    assert len(tasks) == 40
    return packed(answers(tasks, reads=False))


@pytest.fixture(scope="module", autouse=True)
def long_numbers() -> Iterator[None]:
    most = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    yield
    sys.set_int_max_str_digits(most)


@pytest.mark.slow
@pytest.mark.parametrize("name", ENCODINGS)
def test_a_table_is_refused_with_its_line(
    secrets: Callable[[str], Secrets], table: bytes, tmp_path: Path, name: str
) -> None:
    block = ENCODINGS[name](table)
    path = tmp_path / "agent.py"
    path.write_text(block)
    assert data_of(block, str(path)) == table, "the code that reads it does so"
    source = carrying(TEMPLATE, name, table)
    first = source[: source.index(block)].count("\n") + 1
    lines = {leak.line for leak in scan(TEMPLATE, source, secrets("retail"), TEMPLATE)}
    assert any(line >= first for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["base85", "plain_words", "the_order_of_keys", "short_texts"])
@pytest.mark.parametrize("domain", ["retail", "airline", "telecom"])
def test_the_answers_of_every_domain_are_refused(
    tau2: Tau2, secrets: Callable[[str], Secrets], domain: str, name: str
) -> None:
    splits = tau2.facts(domain).splits
    tasks = [task for task in tau2.material(domain)["tasks"] if task["id"] in set(splits["test"])]
    source = carrying(TEMPLATE, name, packed(answers(tasks, reads=False)))
    assert scan(TEMPLATE, source, secrets(domain), TEMPLATE)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["base85", "plain_words", "short_texts"])
def test_a_table_in_two_edits_is_refused(secrets: Callable[[str], Secrets], table: bytes, name: str) -> None:
    """Whichever of the two is not."""
    half = carrying(TEMPLATE, name, table[: len(table) // 2])
    whole = f"{half}\n\n{ENCODINGS[name](table[len(table) // 2 :])}"
    assert scan(TEMPLATE, half, secrets("retail"), TEMPLATE) and scan(half, whole, secrets("retail"), TEMPLATE)


@pytest.mark.slow
@pytest.mark.parametrize("domain", ["retail", "airline", "telecom", "mock"])
def test_honest_edits_pass(secrets: Callable[[str], Secrets], domain: str) -> None:
    assert len(HONEST) > 25
    found: dict[str, Any] = {
        name: scan(TEMPLATE, source, secrets(domain), TEMPLATE) for name, source in HONEST.items()
    }
    assert not {name: leaks for name, leaks in found.items() if leaks}


@pytest.mark.parametrize("name", HONEST)
def test_honest_edits_pass_the_screening(name: str) -> None:
    assert problem_of(HONEST[name], TEMPLATE) == ""


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_a_template_may_be_rewritten_as_another(secrets: Callable[[str], Secrets], path: Path) -> None:
    assert scan(TEMPLATE, path.read_text(), secrets("retail"), TEMPLATE) == []
