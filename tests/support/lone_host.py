"""A host with a starter and a watch of its own, for tests and measurements of hosts alone."""

import threading
from typing import Any

from autoharness.host.process import AgentFile, Host
from autoharness.host.starter import Confinement, HostStarter
from autoharness.host.watchdog import Watchdog

SETUP: dict[str, Any] = {
    "tools": [],
    "domain_policy": "Be kind.",
    "llm": "m",
    "llm_args": {},
    "history": [],
    "random": "seed",
}
"""What an agent is started with."""


class LoneHost(Host):
    def __init__(self, agent: AgentFile, turn_timeout_s: float, confinement: Confinement) -> None:
        self._own_starter = HostStarter(confinement)
        try:
            super().__init__(self._own_starter, agent, turn_timeout_s)
        except BaseException:
            self._own_starter.close()
            raise
        self._over = threading.Event()
        if confinement.apart:
            threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while not self._over.wait(Watchdog.INTERVAL_S):
            self.look()

    def close(self) -> None:
        self._over.set()
        super().close()
        self._own_starter.close()
