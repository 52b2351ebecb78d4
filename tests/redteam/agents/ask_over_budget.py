"""Asks more often than the simulation may."""

from autoharness.agent_api import LLMError, UserMessage, generate


def attack(world):
    for number in range(10):
        try:
            generate([UserMessage(f"Hi {number}")])
        except LLMError:
            continue
    return "asked"
