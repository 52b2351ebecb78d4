"""Redacts API keys and provider addresses from texts that leave the worker: agents and their traces see those.

Providers repeat the key that they refuse, whole or with its middle masked, and errors name the address. Keys and
addresses are known from the environment: from variables with such names, and from those that an experiment names.
"""

import os
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from autoharness.core.endpoints import Endpoint

SECRETS = ("KEY", "TOKEN", "SECRET", "PASSWORD")
"""Endings of variables that hold secrets, in capitals."""
_ADDRESSES = ("_API_BASE", "_BASE_URL", "_ENDPOINT")
_PART_CHARS = 8
"""A part of a key that is this long is redacted like the key."""
_WHOLE_KEY_CHARS = 16
"""A shorter text could be a word of the conversation."""
_guarded: list[Endpoint] = []


def guard(endpoints: Iterable[Endpoint]) -> None:
    """From now on redact these endpoints' keys and addresses too, whatever the variables are called."""
    _guarded.extend(endpoint for endpoint in endpoints if endpoint not in _guarded)


def scrubbed(text: str) -> str:
    """The text of an error, with ($NAME) in place of keys, of long parts of them, and of addresses."""
    known = [(value, f"(${name})") for name, value in _values(_ADDRESSES)]
    for value, instead in [*known, *((endpoint.url, "(server)") for endpoint in _guarded)]:
        for address in (value, _host_in(value)):
            text = text.replace(address, instead) if len(address) >= _PART_CHARS else text
    for name, value in _keys():
        text = _without_parts(text, value, f"(${name})")
    return text


def _host_in(address: str) -> str:
    """With its port; empty if there is none, as in http://[your-host]/v1."""
    try:
        return urlsplit(address).netloc
    except ValueError:
        return ""


def addresses() -> dict[str, str]:
    """Addresses of providers in the environment, by variable."""
    return dict(sorted(_values(_ADDRESSES)))


def without_whole_keys(value: Any) -> Any:
    """A JSON value with ($NAME) in place of whole keys. Parts of keys stay: they could be a model's own words."""
    keys = {key: f"(${name})" for name, key in _keys() if len(key) >= _WHOLE_KEY_CHARS}
    return _replaced(value, keys) if keys else value


def _replaced(value: Any, keys: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(inner, keys) for key, inner in value.items()}
    if isinstance(value, list):
        return [_replaced(inner, keys) for inner in value]
    if isinstance(value, str):
        for key, instead in keys.items():
            value = value.replace(key, instead)
    return value


def printable(text: str) -> str:
    """The text without control characters, except line ends and tabs: a terminal shows it and obeys nothing in it."""
    return "".join(one for one in text if one in "\n\t" or one.isprintable())


def cut(text: str, most: int) -> str:
    """The beginning of a text that is longer than `most` characters, and how many more it has."""
    more = len(text) - most
    return text if more <= 0 else f"{text[:most]} ... ({more} more characters)"


def one_line(text: str, most: int = 300) -> str:
    """The beginning of a text, printable, on one line."""
    return printable(" ".join(text[: 4 * most].encode(errors="backslashreplace").decode().split()))[:most]


def _keys() -> Iterator[tuple[str, str]]:
    yield from ((name, value) for name, value in os.environ.items() if name.upper().endswith(SECRETS) and value)
    names = {endpoint.key_name for endpoint in _guarded if endpoint.key_name}
    yield from ((name, os.environ[name]) for name in sorted(names) if os.environ.get(name))


def _values(endings: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    return ((name, value) for name, value in os.environ.items() if name.endswith(endings) and value)


def _without_parts(text: str, key: str, instead: str) -> str:
    parts = {key[start : start + _PART_CHARS] for start in range(len(key) - _PART_CHARS + 1)}
    kept, end = "", 0
    for start in range(len(text)):
        if text[start : start + _PART_CHARS] in parts:
            if start > end or not end:
                kept += instead
            end = start + _PART_CHARS
        elif start >= end:
            kept += text[start]
    return kept
