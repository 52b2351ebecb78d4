"""Limits on tool calls: what an agent may make tau2's tools do, which run in the worker and answer through it.

Nothing can interrupt a tool that computes with the interpreter's lock held, and meanwhile every other simulation of
the worker stands still. So costly calls are refused before they begin, as an error of the tool: long or deeply nested
arguments, and expressions for tau2's `calculate`, which is Python's `eval`, whose numbers grow too large. In addition
the processor time of all calls of a conversation is counted: past the limit the agent has failed. A single call that
costs more than its arguments suggest is counted once it is over.
"""

import ast
import json
import time
from collections.abc import Iterator
from functools import wraps
from typing import Any

from autoharness.benchmarks.tau2 import grep_limit
from autoharness.core.errors import AgentError, AgentTimeout

_LONGEST_ARGUMENTS_CHARS = 20_000
_DEEPEST_TEXT = 100
"""Brackets of JSON in an argument: whether Python reads deeper ones depends on the caller's stack."""
_LONGEST_EXPRESSION = 1000
_MOST_BRACKETS = 50
_DEEPEST_EXPRESSION = 200
"""A sum is as deep as it has terms."""
_LARGEST_EXPONENT = 999
_MOST_BITS = 10_000
"""The largest whole number in an expression. tau2 makes a floating-point number of the result, which holds 1024."""
_FLOAT_BITS = 64
_ARITHMETIC = frozenset("0123456789+-*/(). ")
"""The characters that tau2's `calculate` accepts."""
_MOST_PROCESSOR_S = 20.0
"""For all tool calls of a conversation together. Those of real agents take less than one second."""
_LONGEST_ANSWER_CHARS = 1_000_000
_MOST_ANSWER_CHARS = 4_000_000
"""All answers of a conversation together, which has to fit into one message to the door."""


def install(environment_class: Any) -> None:
    """An agent's calls must not stop the worker, void its task or fill the memory: some records double."""
    respond_in, make_in = environment_class.get_response, environment_class.make_tool_call

    @wraps(make_in)
    def make_tool_call(self: Any, tool_name: str, requestor: str = "assistant", **arguments: Any) -> Any:
        refuse_costly(arguments)
        return make_in(self, tool_name, requestor, **arguments)

    @wraps(respond_in)
    def get_response(self: Any, message: Any) -> Any:
        started_s = _processor_s()
        try:
            response = respond_in(self, message)
            check_replayable(response.content)
        except Exception as error:  # such as a number that is too long to write down
            if message.requestor == "assistant":
                raise AgentError(f"the agent's call of {message.name:.40} breaks tau2: {error!s:.200}") from error
            raise
        if message.requestor == "assistant":
            self.processor_s = getattr(self, "processor_s", 0.0) + _processor_s() - started_s
            _check_time(message.name, self.processor_s)
            length = len(response.content or "")
            self.answered_chars = getattr(self, "answered_chars", 0) + length
            _check_answer(message.name, length, self.answered_chars)
        return response

    environment_class.get_response, environment_class.make_tool_call = get_response, make_tool_call


def _check_answer(tool: str, chars: int, all_chars: int) -> None:
    """`chars`: of a tool's answer. `all_chars`: of all answers of the conversation so far. Raises AgentError."""
    if chars > _LONGEST_ANSWER_CHARS:
        raise AgentError(f"the agent called {tool:.40} until its answer was over {_LONGEST_ANSWER_CHARS} characters")
    if all_chars > _MOST_ANSWER_CHARS:
        raise AgentError(f"the agent called tools until their answers were over {_MOST_ANSWER_CHARS} characters")


def _check_time(tool: str, processor_s: float) -> None:
    """`processor_s`: of all tool calls of the conversation so far. Raises AgentTimeout."""
    if processor_s > _MOST_PROCESSOR_S:
        raise AgentTimeout(f"the agent called tools, last {tool:.40}, for over {_MOST_PROCESSOR_S:g} s of processor")


def _processor_s() -> float:
    """The processor seconds of this thread, and of the processes that searched for it."""
    return time.thread_time() + grep_limit.spent_s()


def check_replayable(content: str | None) -> None:
    """Raises ValueError or RecursionError if tau2's replay could not see that an answer equals itself."""
    try:
        value = json.loads(content or "")
    except json.JSONDecodeError:
        return
    if value != value:
        raise ValueError("its answer holds what is no number")


def refuse_costly(arguments: dict[str, Any]) -> None:
    """Raises ValueError for costly arguments; tau2 returns it as the answer of the call."""
    if len(json.dumps(arguments, default=str)) > _LONGEST_ARGUMENTS_CHARS:
        raise ValueError(f"The arguments are too long: over {_LONGEST_ARGUMENTS_CHARS} characters")
    if any(_depth(text) > _DEEPEST_TEXT for text in _texts(arguments)):
        raise ValueError(f"An argument is nested too deep: over {_DEEPEST_TEXT} brackets")
    if takes_for_ever(arguments.get("expression")):
        raise ValueError("Invalid expression: too large")


def takes_for_ever(expression: Any) -> bool:
    """Whether a text is arithmetic that is too long, nested too deep, or has too large numbers."""
    if not isinstance(expression, str) or not set(expression) <= _ARITHMETIC:
        return False  # tau2 refuses it
    if len(expression) > _LONGEST_EXPRESSION or _depth(expression) > _MOST_BRACKETS:
        return True
    try:
        _bits(ast.parse(expression.strip(), mode="eval").body, _DEEPEST_EXPRESSION)
    except SyntaxError:
        return False  # so does Python
    except ValueError:
        return True
    return False


def _bits(node: ast.AST, levels: int) -> tuple[int, bool]:
    """How many bits an expression's value has at most, and whether it is a floating-point number.

    Raises ValueError if that is too many, or too deep.
    """
    if not levels:
        raise ValueError("nested too deep")
    if isinstance(node, ast.Constant):
        return (node.value.bit_length(), False) if isinstance(node.value, int) else (_FLOAT_BITS, True)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        return _bits_of_power(node, levels)
    parts = [_bits(part, levels - 1) for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr)]
    if any(is_float for _, is_float in parts) or (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)):
        return _FLOAT_BITS, True
    return _checked(sum(bits for bits, _ in parts) + 1), False


def _bits_of_power(node: ast.BinOp, levels: int) -> tuple[int, bool]:
    bits, is_float = _bits(node.left, levels - 1)
    sign, exponent = 1, node.right
    while isinstance(exponent, ast.UnaryOp):
        sign, exponent = (-sign if isinstance(exponent.op, ast.USub) else sign), exponent.operand
    if isinstance(exponent, ast.Constant) and isinstance(exponent.value, int):
        most = exponent.value
    else:
        exponent_bits, is_fraction = _bits(exponent, levels - 1)
        if is_fraction:
            return _FLOAT_BITS, True
        sign, most = 1, 2**exponent_bits - 1
    if most > _LARGEST_EXPONENT:
        raise ValueError("the exponent is too large")
    whole = _checked(_FLOAT_BITS if is_float else bits * most)  # Python works it out, then divides
    return (_FLOAT_BITS, True) if is_float or sign < 0 else (max(whole, _FLOAT_BITS), False)


def _checked(bits: int) -> int:
    if bits > _MOST_BITS:
        raise ValueError("a number is too large")
    return bits


def _depth(text: str) -> int:
    """How deep the brackets of a text are nested at most."""
    if text.count("[") + text.count("{") + text.count("(") <= _MOST_BRACKETS:
        return 0
    depth = deepest = 0
    for char in text:
        depth += (char in "[{(") - (char in ")}]")
        deepest = max(deepest, depth)
    return deepest


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)
