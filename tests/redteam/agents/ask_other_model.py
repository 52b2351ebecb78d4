"""Asks another model than the experiment's."""

from autoharness.agent_api import UserMessage, generate


def attack(world):
    return generate([UserMessage("Hi")], model="a-better-model").content
