"""Any other coding agent: the command that `coding_agent_command` names."""

from pathlib import Path

from autoharness.core.settings import Experiment
from autoharness.loop.coding_agents.definition import (
    PROMPT_FILE,
    PROVIDER_ADDRESSES,
    PROVIDER_KEYS,
    CodingAgent,
    Used,
    prompt_in,
)


def custom_agent(command: list[str]) -> CodingAgent:
    """`{prompt}` and `{prompt_file}` stand for the prompt; if neither is named, it comes on stdin."""

    def arguments(experiment: Experiment, scratch: Path) -> list[str]:
        file = str(scratch / PROMPT_FILE)
        return [word.replace("{prompt_file}", file).replace("{prompt}", prompt_in(scratch)) for word in command[1:]]

    named = any("{prompt}" in word or "{prompt_file}" in word for word in command)
    return CodingAgent(
        name=Path(command[0]).name,
        program=command[0],
        install="see coding_agent_command",
        arguments=arguments,
        used=lambda printed, scratch: Used(),
        prompt_on_stdin=not named,
        keys=PROVIDER_KEYS,
        addresses=PROVIDER_ADDRESSES,
        says_tokens=False,
    )
