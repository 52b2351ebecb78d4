"""Any other coding agent: the command that `coding_agent_command` names."""

import sys
from pathlib import Path

from autoharness.core.settings import Experiment
from autoharness.loop.coding_agents.definition import (
    PROMPT_FILE,
    PROVIDER_ADDRESSES,
    PROVIDER_KEYS,
    CodingAgent,
    Used,
    files_in,
    prompt_in,
    with_whole_paths,
)

_PYTHON = ("python", "python3")
"""Means this one: another, such as a shim of pyenv, consists of files that are not open to a coding agent."""


def custom_agent(command: list[str]) -> CodingAgent:
    """`{prompt}` and `{prompt_file}` stand for the prompt; if neither is named, it comes on stdin."""

    def arguments(experiment: Experiment, scratch: Path) -> list[str]:
        file = str(scratch / PROMPT_FILE)
        words = with_whole_paths(command[1:], files_in(command))
        return [word.replace("{prompt_file}", file).replace("{prompt}", prompt_in(scratch)) for word in words]

    named = any("{prompt}" in word or "{prompt_file}" in word for word in command)
    return CodingAgent(
        name=Path(command[0]).name,
        program=sys.executable if command[0] in _PYTHON else command[0],
        install="see coding_agent_command",
        arguments=arguments,
        used=lambda printed, scratch: Used(),
        prompt_on_stdin=not named,
        keys=PROVIDER_KEYS,
        addresses=PROVIDER_ADDRESSES,
        says_tokens=False,
        reads=lambda experiment: files_in([*command, *experiment.coding_agent_args]),
    )
