"""The pool of agent hosts of one worker: one host for each simulation, all confined and watched alike."""

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from autoharness.core.errors import HostFailed, SetupError
from autoharness.core.settings import Experiment
from autoharness.host.process import AgentFile, Host
from autoharness.host.starter import Confinement, HostStarter
from autoharness.host.watchdog import Watchdog


class Hosts:
    """Starts a host for each simulation, and watches it while it runs. Any thread may call its methods."""

    def __init__(
        self,
        agents: Mapping[str, AgentFile],
        turn_timeout_s: float,
        confinement: Confinement,
        layers: dict[str, str] | None = None,
    ) -> None:
        """`layers`: what confines each host; None: what confines the first one."""
        self._agents = agents
        self._turn_timeout_s = turn_timeout_s
        self._confinement = confinement
        self._layers = layers
        self._starter: HostStarter | None = None
        self._open: set[Host] = set()
        self._lock = threading.Lock()
        self._closed = threading.Event()

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    def use(self, agents: Mapping[str, AgentFile]) -> None:
        """Run these agent files from now on."""
        self._agents = agents

    @contextmanager
    def host(self, agent: str) -> Iterator[Host]:
        """A new host for this agent file (SHA-256). Raises HostFailed."""
        host = self._start(self._agents[agent])
        with self._lock:
            self._open.add(host)
        try:
            yield host
        finally:
            with self._lock:
                self._open.discard(host)
            host.close()

    def layers(self) -> dict[str, str]:
        """What confines an agent host on this machine. Raises SetupError if none starts."""
        if self._layers is None:
            try:
                self._start(AgentFile("", "", None)).close()
            except HostFailed as error:
                raise SetupError(str(error)) from error
        return self._layers or {}

    def _start(self, agent: AgentFile) -> Host:
        """Raises HostFailed, also if the kernel confines it less than it did the others."""
        host = Host(self._running_starter(), agent, self._turn_timeout_s)
        if self._layers is None:
            self._layers = host.layers
        if host.layers != self._layers:
            host.close()
            raise HostFailed(f"the agent host is not confined as others are: {host.layers}, not {self._layers}")
        return host

    def _running_starter(self) -> HostStarter:
        with self._lock:
            if self._starter is None or not self._starter.alive:
                first = self._starter is None
                if self._starter:
                    self._starter.close()
                self._starter = HostStarter(self._confinement)
                if first and self._confinement.apart:
                    threading.Thread(target=self._watch, daemon=True).start()
            return self._starter

    def _watch(self) -> None:
        while not self._closed.wait(Watchdog.INTERVAL_S):
            with self._lock:
                hosts = list(self._open)
            for host in hosts:
                host.look()

    def close(self) -> None:
        self._closed.set()
        with self._lock:
            hosts, starter = list(self._open), self._starter
        for host in hosts:
            host.close()
        if starter:
            starter.close()


def confinement_of(experiment: Experiment, folder: Path, private: Iterable[str]) -> Confinement:
    """The confinement of an experiment's hosts. `folder`: for their folders. `private`: what they must not read."""
    memory_mb, base_url = experiment.agent_memory_mb, experiment.agent_base_url
    return Confinement(experiment.isolation_mode, folder, tuple(private), memory_mb, base_url)


def agent_files(sources: Mapping[str, str], experiment: Experiment) -> dict[str, AgentFile]:
    """Agent files by SHA-256."""
    model, effort = experiment.agent_model, experiment.reasoning_effort
    return {sha256: AgentFile(source, model, effort) for sha256, source in sources.items()}
