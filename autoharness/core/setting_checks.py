"""Validates the values of settings; a mistake is one line that says what, where, and how to fix it.

A setting in `settings` names the check that it needs in addition to its type, range and choices.
"""

import difflib
import importlib.metadata
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from autoharness.core.endpoints import base_url, is_variable
from autoharness.core.errors import UserError

Check = Callable[[str, Any, str], Any]
"""Takes a setting's name, its value, and the value's source; returns the value as it is kept, or raises UserError."""
LARGEST = 10**12

_CLASS = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
_NOT_SUPPORTED_YET = ("terminal-bench", "bird-interact")
_SECRETS = (
    *("api_key", "api-key", "access_key", "access_key_id", "session_token", "ad_token", "credentials", "password"),
    "authorization",
)
"""Endings of argument names that hold secrets: those are not settings."""
_NOT_ARGUMENTS = ("messages", "model", "tools", "functions", "stream", "n", "custom_llm_provider")
"""Arguments that change what is asked, not only how it is answered."""
_ADDRESSES = ("base_url", "api_base")
"""Arguments that would send a model's requests, and a key, somewhere else."""
_SETTINGS = {"timeout": "llm_timeout_s", "max_retries": "llm_retries", "reasoning_effort": "reasoning_effort"}
"""Arguments that are settings of their own."""
_TAKEN = (("user_llm_args", "reasoning_effort"), ("judge_llm_args", "reasoning_effort"))
"""That setting is the agent's alone."""
_LLM_ARGS = "_llm_args"


def place(source: str) -> str:
    return f"{source}: " if source else ""


def nearest(value: str, choices: Sequence[str]) -> str:
    near = difflib.get_close_matches(value, choices, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; there is {', '.join(sorted(choices))}"


def check_choice(name: str, value: str, choices: Sequence[str], source: str = "", why: str = "") -> None:
    """Raises UserError if `value` is not one of `choices`, with the nearest choice, or `why` there are no others."""
    if value in choices:
        return
    if why:
        raise UserError(f"{place(source)}{name}: {value!r} is not offered ({why}); there is {', '.join(choices)}")
    raise UserError(f"{place(source)}{name}: {value!r} is unknown{nearest(value, choices)}")


def check_range(name: str, value: float, least: float, most: float, source: str = "") -> None:
    if not least <= value <= most:
        bound = f"at least {least:g}" if value < least else f"at most {most:g}"
        raise UserError(f"{place(source)}{name} must be {bound}, not {str(value)[:40]}")


def check_no_secret(name: str, value: Mapping[str, Any], source: str) -> None:
    """Refuses secrets: settings are written into every record, report and export."""
    for argument, inner in value.items():
        if argument.lower().endswith(_SECRETS):
            raise UserError(f"{place(source)}{name}: {argument} would be written down everywhere: put it into .env")
        if isinstance(inner, dict):
            check_no_secret(name, inner, source)


def benchmark(builtin: str, entry_points: str) -> Check:
    """Accepts `builtin`, module:Class, or an entry point of that group. A worker checks that the class exists."""

    def check(name: str, value: Any, source: str) -> Any:
        if value is None or _CLASS.fullmatch(str(value)):
            return value
        if value in _NOT_SUPPORTED_YET:
            own = "or bring it yourself (docs/your-benchmark.md)"
            raise UserError(f"{place(source)}{name}: {value} is not supported yet; set {name}: {builtin}, {own}")
        offered = [point.name for point in importlib.metadata.entry_points(group=entry_points)]
        check_choice(name, str(value), [builtin, *offered], source)
        return value

    return check


def llm_args(name: str, value: Mapping[str, Any], source: str) -> Any:
    for argument, inner in value.items():
        if argument in _NOT_ARGUMENTS:
            raise UserError(f"{place(source)}{name}: {argument} is not for settings to choose: take it out")
        if argument in _ADDRESSES:
            role = name.removesuffix(_LLM_ARGS)
            raise UserError(f"{place(source)}{name}: {argument}: set {role}_url instead (docs/endpoints.md)")
        if argument in _SETTINGS and (name, argument) not in _TAKEN:
            raise UserError(f"{place(source)}{name}: {argument}: set {_SETTINGS[argument]} instead")
        if argument == "extra_body" and not isinstance(inner, dict):
            raise UserError(f"{place(source)}{name}: extra_body must be such as {{top_k: 20}}, not {inner!r:.60}")
        if isinstance(inner, dict):
            llm_args(name, inner, source)
    return value


def url(name: str, value: str, source: str) -> str:
    """The URL in its normal form."""
    try:
        return base_url(value)
    except ValueError as error:
        raise UserError(f"{place(source)}{name} {error}") from None


def variable(name: str, value: str, source: str) -> str:
    if not is_variable(value):
        what = "the name of an environment variable, in capitals, such as MY_API_KEY"
        raise UserError(f"{place(source)}{name} must be {what}; the key itself belongs into .env")
    return value


def user_class(name: str, value: str, source: str) -> str:
    if not _CLASS.fullmatch(value):
        such = "must be such as 'users:Impatient', a class in a module"
        raise UserError(f"{place(source)}{name}: {such}, not {value!r:.80}")
    return value


def prices(name: str, value: Mapping[str, Any], source: str) -> Any:
    for model, price in value.items():
        sound = isinstance(price, dict) and set(price) - {"cached_input"} == {"input", "output"}
        if not sound or not all(type(usd) in (int, float) and 0 <= usd < LARGEST for usd in price.values()):
            wanted = "{input: 1.25, output: 10.0, cached_input: 0.1}, in USD for a million tokens"
            raise UserError(f"{place(source)}{name}: {model}: must be such as {wanted}, not {price!r:.60}")
    return value
