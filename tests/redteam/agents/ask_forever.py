"""Asks from many threads for what is refused: its own clock stands still meanwhile, so that its turn never ends."""

import threading
import time

from autoharness.agent_api import LLMError, UserMessage, generate


def attack(world):
    def ask():
        while True:
            try:
                generate([UserMessage("Hi")], model="a-better-model")
            except LLMError:
                continue

    for _ in range(20):
        threading.Thread(target=ask, daemon=True).start()
    time.sleep(3600)
