"""Strict parsing and writing of JSON objects that come from untrusted code, or go to code that trusts us.

Python's parser accepts more than JSON: NaN (unequal to itself, so tau2's replay of a conversation would raise),
infinity, half a character, nesting that breaks code that copies the value. Each would fail later, and look like
someone else's fault.
"""

import json
import math
from typing import Any

_DEEPEST = 100
_NESTED = (dict, list)

Json = dict[str, Any]


def loads_object(text: str) -> Json:
    """Raises ValueError if `text` is not a JSON object of plain numbers, whole characters and bounded depth."""
    try:
        value = json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(value, dict):
        raise ValueError(f"not an object: {text[:80]!r}")
    check_depth(value, _DEEPEST)
    if "\\u" in text:
        json.dumps(value, ensure_ascii=False).encode()  # a UnicodeEncodeError is a ValueError
    return value


def dumps(value: Json) -> bytes:
    """One line. Raises ValueError or TypeError if `value` is not JSON."""
    try:
        text = json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    except RecursionError:
        raise ValueError("nested too deep") from None
    return text.encode() + b"\n"


def check_depth(value: Any, levels: int) -> None:
    """Raises ValueError if lists and objects are nested deeper than `levels`."""
    layer = [value] if isinstance(value, _NESTED) else []
    while layer:
        if not levels:
            raise ValueError("nested too deep")
        levels -= 1
        parts = [one.values() if isinstance(one, dict) else one for one in layer]
        layer = [inner for part in parts for inner in part if isinstance(inner, _NESTED)]


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is too large")
    return number
