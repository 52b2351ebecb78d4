"""What an agent may have tau2's tools do: they run in the worker, and what they answer goes through it.

tau2's `calculate` is Python's `eval`. 9**9**9 keeps that busy for days with the interpreter's lock held: every other
simulation of the worker stands still, and nothing can interrupt it. Without powers the result is no longer than the
expression.
"""

import re
from functools import wraps
from typing import Any

from autoharness.errors import AgentError

_SMALL_EXPONENT = re.compile(r"\*\*[ +-]*\d{1,3}(?![\d.])")
_LONGEST_WITH_POWER = 1000
_LONGEST_ANSWER_CHARS = 1_000_000
_MOST_ANSWER_CHARS = 4_000_000
"""Of one conversation: it has to fit into one message to the door."""


def install(environment_class: Any) -> None:
    """An agent must not stop the worker or void its task with one call, nor fill the memory: some records double."""
    respond_in = getattr(environment_class.get_response, "__wrapped__", environment_class.get_response)

    @wraps(respond_in)
    def get_response(self: Any, message: Any) -> Any:
        if message.name == "calculate" and takes_for_ever(message.arguments.get("expression")):
            message = message.model_copy(update={"arguments": {"expression": "too large"}})  # tau2 refuses letters
        try:
            response = respond_in(self, message)
        except Exception as error:  # such as a number that is too long to write down
            if message.requestor == "assistant":
                raise AgentError(f"the agent's call of {message.name:.40} breaks tau2: {error!s:.200}") from error
            raise
        if message.requestor == "assistant":
            length = len(response.content or "")
            self.answered_chars = getattr(self, "answered_chars", 0) + length
            check_answer(message.name, length, self.answered_chars)
        return response

    environment_class.get_response = get_response


def check_answer(tool: str, chars: int, all_chars: int) -> None:
    """`chars`: of a tool's answer. `all_chars`: of all answers of the conversation so far. Raises AgentError."""
    if chars > _LONGEST_ANSWER_CHARS:
        raise AgentError(f"the agent called {tool:.40} until its answer was over {_LONGEST_ANSWER_CHARS} characters")
    if all_chars > _MOST_ANSWER_CHARS:
        raise AgentError(f"the agent called tools until their answers were over {_MOST_ANSWER_CHARS} characters")


def takes_for_ever(expression: Any) -> bool:
    """Whether a text has more powers than one, or one whose exponent is not a plain number below 1000."""
    if not isinstance(expression, str) or "**" not in expression:
        return False
    plain = expression.count("**") == 1 and _SMALL_EXPONENT.search(expression)
    return not plain or len(expression) > _LONGEST_WITH_POWER
