"""What tau2's tools may cost: refused before it begins where that can be told, counted where not."""

import ast
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_talk import ScriptedAgent, customer

from autoharness.benchmarks.tau2 import tool_limits
from autoharness.benchmarks.tau2.adapter import Conversation, Limits, Tau2
from autoharness.benchmarks.tau2.tool_limits import check_replayable, refuse_costly, takes_for_ever
from autoharness.core.errors import AgentTimeout
from autoharness.core.settings import Experiment

TASK = "0"
MOST_BITS = tool_limits._MOST_BITS


@pytest.fixture
def calculate() -> Callable[..., Conversation]:
    retail = Tau2(Experiment(domain="retail"))

    def calculate(*expressions: str) -> Conversation:
        calls: Any = [("calculate", {"expression": one}) for one in expressions]
        return retail.converse("retail", TASK, 1, Limits(20, 1000), ScriptedAgent(calls), customer, {})

    return calculate


def _answers(conversation: Conversation) -> list[tuple[bool, str]]:
    return [(one["error"], one["content"]) for one in conversation.messages if one["role"] == "tool"]


@pytest.mark.parametrize(
    "expression",
    [
        "9" * 1001,
        "*".join(["9" * 100] * 200),
        "(99**999)*(99**999)",
        "99**999*99**999",
        "(" + "9" * 900 + ")**99",
        "((9**99)**99)",
        "9**99**2",
        "9**-(9**9)",
        "9**--9999",
        "9.5**(2**9)",
        "1/(9**9**9)",
        "(9**9**9)(1)",
        "(1)(9**9**9)",
        "-" * 500 + "1",
        "(" * 60 + "1" + ")" * 60,
        "1" + "+1" * 450,
        "9" * 999 + "**999",
        "0.1**9999",
    ],
    ids=lambda expression: expression[:20],
)
def test_arithmetic_that_grows_out_of_bounds_is_an_error_of_the_tool(
    calculate: Callable[..., Conversation], expression: str
) -> None:
    """Python would work it out with its lock held: 51 s for one message, before."""
    assert takes_for_ever(expression)
    [(is_error, said)] = _answers(calculate(expression))
    assert is_error and ("too long" in said or "too large" in said)


@pytest.mark.parametrize(
    ("expression", "answer"),
    [
        ("2 + 2", "4.0"),
        (" (1 + 2) * 3 / 4 ", "2.25"),
        ("5244.50 - 1286", "3958.5"),
        ("1000 * 1.005**360", "6022.58"),
        ("2**-2", "0.25"),
        ("7 // 2", "3.0"),
        ("+".join(["19.99"] * 100), "1999.0"),
        ("1" * 300 + "/" + "1" * 300, "1.0"),
        ("9**300 / 9**299", "9.0"),
        ("1000 * (1 + 0.05 / 12) ** (12 * 5)", "1283.36"),
        ("1.05**(1/12)", "1.0"),
        ("2**0.5", "1.41"),
        ("2**-(1 + 1)", "0.25"),
    ],
    ids=lambda text: text[:20],
)
def test_what_a_clerk_works_out_is_worked_out(
    calculate: Callable[..., Conversation], expression: str, answer: str
) -> None:
    assert _answers(calculate(expression)) == [(False, answer)]


ARITHMETIC = st.recursive(
    st.integers(0, 10**40).map(str) | st.floats(0, 1e6).map(lambda value: f"{value:.2f}"),
    lambda inner: st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "//", "**", "*-", "**-"]), inner).map(
        lambda parts: "({} {} {})".format(*parts)
    ),
    max_leaves=25,
)


@given(ARITHMETIC | st.text("0123456789+-*/(). ", max_size=200))
def test_no_number_of_an_expression_that_is_accepted_is_larger_than_the_bound(expression: str) -> None:
    if not takes_for_ever(expression):
        try:
            tree = ast.parse(expression.strip(), mode="eval")
        except SyntaxError:
            return
        for node in ast.walk(tree):
            assert _bits(node) <= MOST_BITS + 64


def _bits(node: ast.AST) -> int:
    """How many bits the value of a part of an expression has, worked out."""
    if not isinstance(node, ast.expr):
        return 0
    try:
        value = eval(compile(ast.Expression(node), "", "eval"), {"__builtins__": None})
    except (ArithmeticError, TypeError, ValueError):
        return 0
    return value.bit_length() if isinstance(value, int) else 64


@pytest.mark.parametrize(
    "arguments",
    [
        {"item_ids": ["1"] * 10_000},
        {"summary": "x" * 20_001},
        {"arguments": "[" * 300 + "]" * 300},
        {"arguments": {"a": ['{"a":' * 150]}},
    ],
    ids=["a-long-list", "a-long-text", "deep-brackets", "deep-inside"],
)
def test_long_and_deep_arguments_are_an_error_of_the_tool(arguments: dict[str, Any]) -> None:
    """Tools compare lists with lists; and how deep Python reads depends on who asks, so a replay would differ."""
    with pytest.raises(ValueError, match=r"too (long|deep)"):
        refuse_costly(arguments)
    mock = Tau2(Experiment(domain="mock"))
    agent = ScriptedAgent(("create_task", {"user_id": "user_1", "title": "a"} | arguments))
    conversation = mock.converse("mock", "create_task_1", 1, Limits(20, 10), agent, customer, {})
    assert _answers(conversation)[0][0] and mock.evaluate("mock", conversation, customer)["reward"] == 0.0


def test_arguments_of_real_agents_are_no_error() -> None:
    refuse_costly({"summary": "x" * 5000, "arguments": json.dumps([{"id": str(number)} for number in range(300)])})


def test_all_calls_of_a_conversation_together_take_so_much_of_the_processor_and_no_more(
    calculate: Callable[..., Conversation], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a second each, by a clock that the test turns."""
    clock = iter(range(10**6))
    monkeypatch.setattr(tool_limits, "time", SimpleNamespace(thread_time=lambda: next(clock) / 2))
    assert len(_answers(calculate(*["1+1"] * 36))) == 36
    with pytest.raises(AgentTimeout, match=r"the agent called tools, last calculate, for over 20 s of processor"):
        calculate(*["1+1"] * 44)


@pytest.mark.parametrize("content", ["NaN", "[" * 100_000, "1" * 5000], ids=["nan", "deep", "digits"])
def test_an_answer_that_no_replay_finds_equal_is_the_agents_failure(content: str) -> None:
    with pytest.raises((ValueError, RecursionError)):
        check_replayable(content)


@pytest.mark.parametrize("content", ["", None, "no JSON", "NaNs", "1.5", "null", '{"a": [NaN, Infinity]}', "NaN."])
def test_other_answers_are_none(content: str | None) -> None:
    check_replayable(content)
