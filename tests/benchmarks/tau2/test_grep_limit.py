"""banking_knowledge's `grep` finds what tau2's own finds, and is stopped where that would take years."""

from types import SimpleNamespace
from typing import Any

import pytest

from autoharness.benchmarks.tau2 import grep_limit
from autoharness.benchmarks.tau2.grep_limit import matches

TEXTS = {"a": "Late fees and late charges", "b": "Credit card: fee (late)", "c": "x" * 40, "d": ""}


class Retriever:
    """As tau2-bench's GrepRetriever is."""

    query_key, content_state_key, top_k, case_sensitive = "query", "texts", 2, False

    def retrieve(self, input_data: dict[str, Any], state: dict[str, Any]) -> Any:
        return "tau2's own"


grep_limit.install(Retriever)


def _found(query: str) -> Any:
    return Retriever().retrieve({"query": query}, {"texts": TEXTS})


def test_plain_words_are_left_to_tau2() -> None:
    assert _found("late fees 2") == _found("") == _found("  ") == "tau2's own"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("late.*", [("a", 1.0), ("b", 1.0)]),
        ("fees?", [("a", 1.0), ("b", 1.0)]),
        ("(l)ate", [("a", 2.0), ("b", 1.0)]),
        ("(late)", [("a", 2.0), ("b", 1.0)]),
        ("(late", [("b", 1.0)]),
        ("x{40}", [("c", 1.0)]),
        ("nothing+", []),
        ("late|fee", [("a", 3.0), ("b", 2.0)]),
    ],
)
def test_the_best_first_as_in_tau2(query: str, found: list[tuple[str, float]]) -> None:
    """What Python cannot read as an expression is a plain word."""
    assert _found(query) == found


def test_case_counts_if_asked() -> None:
    assert matches("Late+", list(TEXTS.values()), case_sensitive=True) == [1, 0, 0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("query", ["(x+)+y", "(x|x)*y"])
def test_an_expression_that_takes_years_is_an_error_of_the_tool(query: str) -> None:
    before_s = grep_limit.spent_s()
    with pytest.raises(ValueError, match="The pattern takes too long"):
        _found(query)
    assert grep_limit.spent_s() == before_s + 5, "which counts among what the conversation may take"


def test_it_is_installed_for_banking_knowledge() -> None:
    """Where this tau2 has that."""
    module = pytest.importorskip("tau2.knowledge.retrievers.grep_retriever")
    from autoharness.benchmarks.tau2.flavours import _bound_searches

    _bound_searches()
    retriever = module.GrepRetriever()
    state = {retriever.content_state_key: TEXTS}
    for query in ("late.*", "(l)ate", "(late", "fees?"):
        asked = {retriever.query_key: query}
        assert retriever.retrieve(asked, state) == retriever.retrieve.__wrapped__(retriever, asked, state)


def test_a_search_sees_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process has no keys."""
    seen: list[dict[str, Any]] = []

    def run(command: list[str], **named: Any) -> Any:
        seen.append(named)
        return SimpleNamespace(returncode=0, stdout=b'{"counts": [0], "seconds": 1.5}', stderr=b"")

    monkeypatch.setattr(grep_limit.subprocess, "run", run)
    before_s = grep_limit.spent_s()
    matches("a+", ["b"], case_sensitive=False)
    assert grep_limit.spent_s() == before_s + 1.5
    assert seen[0]["env"] == {}
