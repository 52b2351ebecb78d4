"""Describes a coding agent: how it is started headless, and how it says what it spent.

Each kind has a file beside this one, whose first line says which version was tried; `choice` has the table of all.
test_coding_agents.py checks the flags against the agent's own `--help`, if it is installed (but claude's
`--max-turns`, which that does not list), and has it edit against a test server. Agents are told not to ask, and not
to confine themselves: `coding_agent` confines them.
"""

import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoharness.core.settings import Experiment

PROMPT_FILE = "prompt.txt"
"""In the scratch folder."""
_IN_WORKTREE = ("agent", "autoharness", "workspace", "PROGRAM.md")
"""What a coding agent's folder has too: a command that names one of these means that one."""
PROVIDER_KEYS, PROVIDER_ADDRESSES = r".+_API_KEY", r".+_API_BASE|.+_BASE_URL"
"""Patterns of environment variables, for an agent that takes any provider."""


@dataclass(frozen=True)
class Used:
    """What one run of a coding agent used, as far as it says so."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float | None = None

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True)
class CodingAgent:
    """One kind of coding agent. The callables are given the experiment and the agent's scratch folder."""

    name: str
    program: str
    install: str
    """The command that installs it."""
    arguments: Callable[[Experiment, Path], list[str]]
    used: Callable[[str, Path], Used]
    """Reads what it used from its output and its scratch folder."""
    prompt_on_stdin: bool = True
    keys: str = ""
    """A pattern of the environment variables that are its keys."""
    addresses: str = ""
    """A pattern of the environment variables that say where its provider is."""
    settings: Callable[[Experiment, Path], Mapping[str, str]] = lambda experiment, scratch: {}
    """Further environment variables for it."""
    log_in: tuple[str, ...] = ()
    """Folders below the user's home that hold the user's own log-in. Without a key they are open to it."""
    log_in_settings: Callable[[Path], Mapping[str, str]] = lambda home: {}
    """The environment variables that lead it to them."""
    takes_turns: bool = False
    says_tokens: bool = True
    """Whether it says what it used; one that used nothing has failed, whatever its exit code is."""
    uses_network: bool = True
    reads: Callable[[Experiment], list[str]] = lambda experiment: []
    """Further files that it has to read."""
    withheld: frozenset[str | None] = frozenset()
    """Variables with keys that are not for it."""

    def needs(self, variable: str) -> bool:
        """Whether it is given this variable of the environment."""
        if not self.keys or variable in self.withheld:
            return False
        return bool(re.fullmatch(f"(?:{self.keys})|(?:{self.addresses})", variable))

    @property
    def key_names(self) -> list[str]:
        """The variables with keys that are set."""
        names = (name for name, value in os.environ.items() if value and self.keys and name not in self.withheld)
        return sorted(name for name in names if re.fullmatch(self.keys, name))


def model_arguments(experiment: Experiment) -> list[str]:
    return ["--model", experiment.coding_model] if experiment.coding_model else []


def json_lines(printed: str) -> Iterator[dict[str, Any]]:
    """The JSON objects in its output, one in a line; other output is left out."""
    for line in printed.splitlines():
        try:
            value = json.loads(line) if line.startswith("{") else None
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            yield value


def with_whole_paths(words: Iterable[str], opened: Collection[str]) -> list[str]:
    """The words of a command, which runs elsewhere: the files that are `opened` to it by their whole paths."""
    named = ((word, *_file_in(word)) for word in words)
    return [option + whole if whole in opened else word for word, option, whole in named]


def files_in(words: Iterable[str]) -> list[str]:
    """The files outside the worktree that the words of a command name, as WORD or --option=WORD."""
    return [whole for word in words if (whole := _file_in(word)[1])]


def _file_in(word: str) -> tuple[str, str]:
    """What stands before the file's name, and its whole path; "" if there is none."""
    option, equals, value = word.partition("=")
    before, name = (option + equals, value) if equals and option.startswith("-") else ("", word)
    is_file = os.path.isfile(name)  # noqa: PTH113 - this one raises nothing for a long word
    return before, os.path.realpath(name) if is_file and Path(name).parts[0] not in _IN_WORKTREE else ""


def prompt_in(scratch: Path) -> str:
    """The prompt, from the file in which the loop has put it."""
    return (scratch / PROMPT_FILE).read_text(encoding="utf-8")


def first_set(*names: str) -> str:
    """The value of the first of these environment variables that is set."""
    return next((os.environ[name] for name in names if os.environ.get(name)), "")
