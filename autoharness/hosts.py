"""The agent hosts of one worker: which simulation runs in which, and how all of them are confined."""

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from autoharness.config import Experiment
from autoharness.errors import HostFailed, SetupError
from autoharness.host import AgentFile, Confinement, Host


class Hosts:
    """The agent hosts of this worker.

    For each agent file one that simulations share, and fresh ones for those that need to be alone. Held-out tasks do
    not share theirs with train tasks: what the agent's code hears there could come up in a trace that others read.
    """

    def __init__(
        self,
        agents: Mapping[str, AgentFile],
        turn_timeout_s: float,
        confinement: Confinement,
        per_simulation: bool = False,
        layers: dict[str, str] | None = None,
    ) -> None:
        """`per_simulation`: none is shared. `layers`: what confines each; None: what confines the first one."""
        self._agents = agents
        self._turn_timeout_s = turn_timeout_s
        self._confinement = confinement
        self._per_simulation = per_simulation
        self._layers = layers
        self._shared: dict[tuple[str, bool], Host] = {}
        self._lock = threading.Lock()

    def use(self, agents: Mapping[str, AgentFile]) -> None:
        """These from now on; the hosts of others are closed."""
        with self._lock:
            self._agents = agents
            for agent, held_out in list(self._shared):
                if agent not in agents:
                    self._shared.pop((agent, held_out)).close()

    @contextmanager
    def host(self, agent: str, held_out: bool) -> Iterator[Host]:
        """One for a simulation that nothing speaks against. Raises HostFailed."""
        if self._per_simulation:
            with self.alone(agent) as host:
                yield host
        else:
            yield self._shared_host(agent, held_out)

    @contextmanager
    def alone(self, agent: str) -> Iterator[Host]:
        """A fresh one. Raises HostFailed."""
        host = self._start(self._agents[agent])
        try:
            yield host
        finally:
            host.close()

    def layers(self) -> dict[str, str]:
        """What confines an agent host on this machine. Raises SetupError where none starts."""
        if self._layers is None:
            try:
                self._start(AgentFile("", "", None)).close()
            except HostFailed as error:
                raise SetupError(str(error)) from error
        return self._layers or {}

    def _start(self, agent: AgentFile) -> Host:
        """Raises HostFailed, also where the kernel confines it less than it did the others."""
        host = Host(agent, self._turn_timeout_s, self._confinement)
        if self._layers is None:
            self._layers = host.layers
        if host.layers != self._layers:
            host.close()
            raise HostFailed(f"the agent host is not confined as others are: {host.layers}, not {self._layers}")
        return host

    def _shared_host(self, agent: str, held_out: bool) -> Host:
        with self._lock:
            host = self._shared.get((agent, held_out))
            if host is None or not host.alive:
                if host:
                    host.close()
                host = self._shared[agent, held_out] = self._start(self._agents[agent])
            return host

    def close(self) -> None:
        with self._lock:
            for host in self._shared.values():
                host.close()
            self._shared.clear()


def confinement_of(experiment: Experiment, folder: Path, private: Iterable[str]) -> Confinement:
    """Of the hosts of an experiment. `folder`: where they get theirs. `private`: what they must not read."""
    memory_mb, base_url = experiment.agent_memory_mb, experiment.agent_base_url
    return Confinement(experiment.isolation_mode, folder, tuple(private), memory_mb, base_url)


def agent_files(sources: Mapping[str, str], experiment: Experiment) -> dict[str, AgentFile]:
    """By SHA-256."""
    model, effort = experiment.agent_model, experiment.reasoning_effort
    return {sha256: AgentFile(source, model, effort) for sha256, source in sources.items()}
