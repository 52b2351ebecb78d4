"""Asks with another reasoning effort than the experiment's."""

from autoharness.agent_api import UserMessage, generate


def attack(world):
    return generate([UserMessage("Hi")], reasoning_effort="high").content
