"""Answers a megabyte."""

from autoharness.core.channel import Channel


def attack(world):
    send = Channel.send

    def long_winded(channel, message):
        if isinstance(message.get("result"), dict):
            message["result"]["content"] = "x" * 1_000_000
        send(channel, message)

    Channel.send = long_winded
    return "long"
