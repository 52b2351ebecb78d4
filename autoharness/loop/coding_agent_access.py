"""What a coding agent can reach on this machine: files, TCP ports, and what its confinement leaves open."""

import os
import re
import shutil
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from autoharness.benchmarks.tau2 import data
from autoharness.core.errors import UserError
from autoharness.core.settings import Experiment
from autoharness.host import landlock
from autoharness.host.sandbox import readable
from autoharness.loop.coding_agents.definition import CodingAgent
from autoharness.loop.worktree import Worktree
from autoharness.vault.location import home, named_vault

_SYSTEM = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/etc",
    "/opt",
    "/proc",
    "/sys",
    "/run/systemd/resolve",
)
_DEVICES = ("null", "zero", "full", "random", "urandom")
"""Not the terminals: it could read what is typed into others. Not shared memory, which would stay."""
_NO_DISK = (Path("/proc"), Path("/sys"))
_MOST_LINKS = 8
_ADDRESSES_OF_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
PROXIES = (*_ADDRESSES_OF_PROXIES, "no_proxy", "node_extra_ca_certs")
"""Variables that say how the network is reached."""
_ALWAYS = (53, 443)
"""Answers of the name service that are too long for UDP; providers."""
_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443, "socks": 1080, "socks4": 1080, "socks5": 1080}
_HOST, _PORT = r"(?:\[[^\]]*\]|[^\s/:'\",\]}]+)", r":(\d{1,5})"
_ADDRESS = re.compile(rf"([a-z][a-z0-9+.-]*)://(?:[^\s/@]*@)?{_HOST}(?:{_PORT})?", re.IGNORECASE)
_PROXY_WITHOUT_SCHEME = re.compile(rf"(?:[^\s/@]*@)?{_HOST}{_PORT}/?")


class Reach:
    """What one coding agent can reach in one experiment."""

    def __init__(self, agent: CodingAgent, experiment: Experiment, private: Iterable[str] = ()) -> None:
        """`private`: the benchmark's folders, besides tau2's. Raises UserError if it is not installed."""
        self._agent, self._experiment = agent, experiment
        self._benchmark = {Path(path).resolve() for path in private}
        self.program = _found(agent)
        self._check_files()

    def _check_files(self) -> None:
        """Raises UserError if the user's own command names a file that no coding agent may read."""
        closed = {path.resolve() for path in (named_vault(), data.folder())} | self._benchmark
        for name in self._agent.reads(self._experiment):
            file = Path(name).resolve()
            if file.name == ".env" or any(file.is_relative_to(one) for one in closed):
                raise UserError(f"the coding agent's command names {name}, which it may not read: take that out")

    @property
    def log_in(self) -> list[Path]:
        """The folders of the user's home that are open to it: none if it is given a key."""
        own = home()
        return [own / name for name in self._agent.log_in] if own and not self._agent.key_names else []

    @property
    def roots(self) -> list[Path]:
        """The folders that it can read and list, except what is private in them."""
        return sorted(
            {Path(path).resolve() for path in (*_SYSTEM, *_python(), *_around(self.program)) if Path(path).exists()}
        )

    def rules(self, worktree: Worktree) -> Iterator[tuple[Path, int]]:
        """What it may do in which folder; see the top of `coding_agent`."""
        private = {path.resolve() for path in _private()} | self._benchmark | _tau2_in(self.roots)
        above = {folder for one in private for folder in one.parents}
        for root in self.roots:
            yield from readable(root, private, above, landlock.RUN)
        for name in self._agent.reads(self._experiment):
            yield Path(name).resolve(), landlock.READ
        yield from ((Path("/dev") / name, landlock.OWN) for name in _DEVICES)
        yield worktree.root, landlock.RUN
        for folder in (worktree.root / "agent", worktree.root / "workspace", worktree.scratch):
            yield folder, landlock.OWN
        yield from ((folder, landlock.OWN) for folder in self.log_in)

    def ports(self, environment: Mapping[str, str]) -> list[int]:
        """The TCP ports that it may connect to: those of its provider, of proxies, and of every other address in its
        environment or its arguments."""
        if not self._agent.uses_network:
            return []
        told = [*environment.values(), *self._experiment.coding_agent_args]
        told += self._experiment.coding_agent_command or []
        ports = [_port(scheme, port) for text in told for scheme, port in _ADDRESS.findall(text)]
        proxies = [value for name, value in environment.items() if name.lower() in _ADDRESSES_OF_PROXIES]
        ports += [int(found[1]) for value in proxies if (found := _PROXY_WITHOUT_SCHEME.fullmatch(value))]
        return sorted({*_ALWAYS, *(port for port in ports if 0 < port < 1 << 16)})

    def not_enforced(self, environment: Mapping[str, str]) -> Iterator[str]:
        """What its confinement leaves open here, in lines."""
        version = landlock.abi()
        yield "it can change modes and times of this account's files, not what is in them"
        if not version:
            yield "the kernel has no Landlock: it can read and write what this account can, the vault too"
        elif version < landlock.SCOPES_SINCE:
            yield f"it can signal other processes of this account (Landlock ABI {version})"
        if self._agent.uses_network:
            yield "the network is open to it, which it needs: it could fetch what a benchmark publishes"
            yield from self._services(version, environment)
            if self._agent.key_names:
                yield f"it is given {', '.join(self._agent.key_names)}"
        if self.log_in:
            folders = ", ".join(f"~/{folder}" for folder in self._agent.log_in)
            yield f"no key is set, so its log-in is open to it: {folders}"
        if not self._agent.takes_turns:
            yield "it takes no limit of turns; coding_agent_timeout_s bounds it"

    def _services(self, version: int, environment: Mapping[str, str]) -> Iterator[str]:
        """The services of this machine and of its network that answer it."""
        if version < landlock.TCP_SINCE:
            kernel = f"Landlock ABI {version}" if version else "no Landlock"
            yield f"it can talk to services of this machine by TCP: databases, notebooks, Ray ({kernel})"
        else:
            ports = ", ".join(map(str, self.ports(environment)))
            yield f"services of this machine that listen at these TCP ports answer it: {ports}"
        yield "it can talk to services of this machine by UDP, of which looking up a name is one"


def _port(scheme: str, port: str) -> int:
    """0 for an address whose port is unknown."""
    return int(port) if port else _PORTS.get(scheme.lower().replace("socks5h", "socks5"), 0)


def _found(agent: CodingAgent) -> Path:
    program = shutil.which(agent.program) if "/" not in agent.program else agent.program
    if program is None or not Path(program).exists():
        raise UserError(f"coding_agent: {agent.name} is not installed ({agent.program}): {agent.install}")
    return Path(program).absolute()


def _python() -> list[str]:
    """This Python and its packages: some coding agents run on it."""
    own = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib", "scripts")]
    return [*own, sys.prefix, sys.base_prefix]


def _around(program: Path) -> list[str]:
    """The folders that an installed program consists of, beyond the system's: those along its links, and those of the
    interpreter that its first line names."""
    files = _links(program)
    with program.open("rb") as file:
        words = file.readline(1000).decode(errors="replace").split()
    if words and words[0].startswith("#!"):
        named = [word for word in words[1:] if not word.startswith("-")]
        interpreter = shutil.which(named[0]) if words[0].endswith("/env") and named else words[0][2:]
        files += _links(Path(interpreter)) if interpreter and Path(interpreter).exists() else []
    return [_installation(file) for file in files]


def _links(file: Path) -> list[Path]:
    """The file, and what it links to, one after the other."""
    found = [file.absolute()]
    while found[-1].is_symlink() and len(found) < _MOST_LINKS:
        found.append(Path(os.path.normpath(found[-1].parent / found[-1].readlink())))
    return found


def _installation(file: Path) -> str:
    """What belongs to a program: all of node_modules, or the environment whose `bin` it lies in."""
    parts = file.parts
    if "node_modules" in parts:
        return str(Path(*parts[: parts.index("node_modules") + 1]))
    folder = file.parent.parent.resolve()
    own = home()
    held_by_it = [*([own / ".local"] if own else []), *(path.resolve() for path in _private())]
    whole = any(
        place.is_relative_to(folder) for place in held_by_it
    )  # the home, the checkout, the root of everything
    return str(folder if file.parent.name == "bin" and not whole else file)


def _private() -> tuple[Path, ...]:
    """What no rule may open, wherever it lies."""
    return named_vault(), data.folder(), Path.cwd()


def _tau2_in(roots: Iterable[Path]) -> set[Path]:
    """Every place of tau2 or its data in these folders: another Python, a tool's own environment, a clone."""
    walks = (os.walk(root) for root in roots if root not in _NO_DISK)
    return {Path(folder, "tau2").resolve() for walk in walks for folder, inside, _ in walk if "tau2" in inside}
