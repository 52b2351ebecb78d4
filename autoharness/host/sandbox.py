"""The sandbox: confines the process that runs the agent file, before it reads a line of that file. Child side.

Layers, each in force or not (docs/isolation.md):

    files           Landlock: reads Python and its libraries, its copy of the agent file; writes its scratch folder
    tcp             Landlock ABI 4: if the host serves a base URL, no other port
    network         if it serves one, a network of its own, in which there is nothing else
    signals         Landlock ABI 6: to itself alone
    calls           seccomp: no sockets, no processes, nothing that changes what belongs to others or what all share
    privileges      no capabilities, and no way to get any
    limits          memory, open files, size of a file, processor time

What it does not protect: whether a file exists, its size and its times; the rest of the Python installation besides
tau2 and auto-harness; how long something takes, since processor, disk and the kernel's caches are shared.
"""

import ctypes
import fcntl
import os
import re
import resource
import site
import socket
import struct
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from autoharness.core.errors import LayerMissing
from autoharness.host import landlock, seccomp

Layers = dict[str, str]
"""For each layer "" if it is in force, otherwise why not, in a few words."""

_MEGABYTE = 1024 * 1024
_MOST_CPU_S = 4 * 3600
"""A last limit, for a host that its worker cannot end any more."""
_MOST_OPEN_FILES = 1024
"""An event loop has three, and each simulation that waits for its LLM may have its own loop."""
_LARGEST_FILE_MB = 16
_NICENESS = 5

_LINKER_CACHE = "/etc/ld.so.cache"
_SYSTEM_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib")
_LOADED_LATER = (
    "/usr/lib/locale",
    "/usr/lib64/ossl-modules",
    f"/usr/lib/{os.uname().machine}-linux-gnu/ossl-modules",
)
"""Locales, OpenSSL's providers."""
_TIME_ZONES = ("/etc/localtime", "/usr/share/zoneinfo")
_CERTIFICATES = ("/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/usr/share/ca-certificates", "/etc/pki/ca-trust")
"""Certificates of the authorities: HTTP clients load them even if nobody uses TLS."""
_MIME_TYPES = ("/etc/mime.types",)
"""HTTP clients guess types by it; Python's `mimetypes` raises if it exists and cannot be read."""
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1
_PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 38, 47, 4
_CAPABILITIES_VERSION_3 = 0x20080522

NOT_ENFORCED = {
    "files": "the agent's code can read and write what this account can: the task data and the vault too",
    "tcp": "the agent's code can connect to any port by TCP (agent_base_url)",
    "network": "the agent's code can connect to other addresses by TCP (agent_base_url)",
    "calls": "the agent's code can open sockets, start processes, change what belongs to others, and leave signals",
    "privileges": "the agent's code keeps the privileges of this account",
    "limits": "the agent's code can use up memory, processor and disk",
    "signals": "nothing by itself, where calls is in force: that refuses them too",
}
"""What a missing layer leaves open."""


class Library:
    """What every host may read: Python, its packages, and loaded modules of this package. Found once for all."""

    def __init__(self, setup: dict[str, Any]) -> None:
        """`setup`: {"folder": for the hosts' folders, "private": paths that no rule may reach, "memory_mb",
        "landlock_abi", "seccomp": what to use of the kernel, for tests}."""
        self.setup = setup
        self.version = min(landlock.abi(), setup["landlock_abi"])
        self._missing, self._prepared = "", -1
        self._needed: list[str] = []
        self._roots: list[tuple[Path, int]] = []
        try:
            rules = chain(library_rules(setup["private"]), _files(), [(Path(setup["folder"]), landlock.WRITE)])
            self._prepared = landlock.prepare(rules, None, self.version)
            self._roots += set(_roots(setup))
            self._needed += sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), os.__file__
            seccomp.for_any_host(False)
        except LayerMissing as missing:
            self._missing = str(missing)

    def restrict(self, agent: str, scratch: str, ports: list[int]) -> None:
        """Confine to reading the library and the agent file, and writing one host's scratch. Raises LayerMissing.

        It takes two steps, both in force: the long list of what may be read is the same for all hosts, and making it
        takes as long as starting ten of them.
        """
        if self._missing:
            raise LayerMissing(self._missing)
        landlock.apply(self._prepared)
        os.close(self._prepared)
        own = [(Path(agent), landlock.READ), (Path(scratch), landlock.WRITE)]
        landlock.restrict([*self._roots, *own], ports, self.version)

    def check(self) -> None:
        """Raises OSError if this account cannot read Python itself without its privileges.

        Otherwise an import would fail later in the agent's code, and count as the agent's failure.
        """
        for path in self._needed:
            os.close(os.open(path, os.O_RDONLY))


def confine(library: Library, agent: str, scratch: str, port: int | None = None) -> Layers:
    """Confine this process for good, as far as the kernel can. Call it while there is one thread.

    `agent`, `scratch`: the host's folders. `port`: the port that stays open.
    """
    setup, version, ports = library.setup, library.version, [port] if port else []
    layers = {"limits": _tried(lambda: limit(setup["memory_mb"])), "privileges": _tried(drop_privileges)}
    layers["files"] = _tried(lambda: library.restrict(agent, scratch, ports))
    if ports:
        layers["tcp"] = _since(landlock.TCP_SINCE, version)
    layers["signals"] = _since(landlock.SCOPES_SINCE, version)
    layers["calls"] = _tried(lambda: _filter(setup["seccomp"], bool(ports)))
    if not layers["files"]:
        library.check()
    return layers


def own_network(setup: dict[str, Any]) -> str:
    """Move this process to a network with only its own 127.0.0.1; returns "", or why that is not possible."""

    def move() -> None:
        if sys.platform != "linux":
            raise LayerMissing("this system has none")
        if not setup["seccomp"]:
            raise LayerMissing("left out")
        library = ctypes.CDLL(None, use_errno=True)
        # a process without privileges here has them in a user namespace of its own
        if library.unshare(_CLONE_NEWNET) and library.unshare(_CLONE_NEWUSER | _CLONE_NEWNET):
            raise LayerMissing(f"the kernel gives none ({os.strerror(ctypes.get_errno())})")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))

    return _tried(move)


def limit(memory_mb: int) -> None:
    """Limit what this process may use. Raises LayerMissing."""
    limits = {
        "RLIMIT_AS": memory_mb * _MEGABYTE,
        "RLIMIT_CORE": 0,
        "RLIMIT_CPU": _MOST_CPU_S,
        "RLIMIT_FSIZE": _LARGEST_FILE_MB * _MEGABYTE,
        "RLIMIT_MEMLOCK": 0,
        "RLIMIT_NOFILE": _MOST_OPEN_FILES,
    }
    os.nice(_NICENESS)
    try:
        for name, most in limits.items():
            what = getattr(resource, name)
            hard = resource.getrlimit(what)[1]
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(what, (most, most))
    except (AttributeError, ValueError, OSError) as error:
        raise LayerMissing(f"it cannot limit {name} ({error})") from error


def _tried(apply: Callable[[], None]) -> str:
    try:
        apply()
    except LayerMissing as missing:
        return str(missing)
    return ""


def _since(needed: int, version: int) -> str:
    return "" if version >= needed else f"Landlock ABI {needed} or newer, and here is {version or 'none'}"


def _filter(wanted: bool, tcp: bool) -> None:
    if not wanted:
        raise LayerMissing("left out")
    seccomp.install(tcp)


def drop_privileges() -> None:
    """No capability is left, and none comes back by executing a file. Raises LayerMissing."""
    library = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_VERSION_3, 0)
    none = (ctypes.c_uint32 * 6)()
    try:
        library.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
        failed = library.capset(ctypes.byref(header), ctypes.byref(none))
        failed = failed or library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    except AttributeError as error:
        raise LayerMissing("this system has no capabilities") from error
    if failed:
        raise LayerMissing(f"the kernel refuses to drop them ({os.strerror(ctypes.get_errno())})")


def _roots(setup: dict[str, Any]) -> Iterator[tuple[Path, int]]:
    """A short list that allows too much, but not the folders of other hosts."""
    others = Path(setup["folder"]).resolve()
    above = set(others.parents)
    system = (Path(folder).resolve() for folder in _SYSTEM_LIBRARIES)
    for path in {*_libraries(), *system, *(path for path, _ in _files())}:
        if path in above:
            yield from readable(path, {others}, above)
        else:  # the highest folder that they do not lie beneath
            yield next(one for one in (*reversed(path.parents), path) if one not in above), landlock.READ
    yield Path(os.devnull), landlock.WRITE


def _files() -> Iterator[tuple[Path, int]]:
    child_side = [module.__file__ for name, module in sys.modules.items() if name.partition(".")[0] == "autoharness"]
    yield from ((Path(file), landlock.READ) for file in (*child_side, *_DEVICES) if file)
    yield Path(os.devnull), landlock.WRITE


def library_rules(private: Iterable[str]) -> Iterator[tuple[Path, int]]:
    """What every agent host on this machine may read: Python, its packages, the libraries they use.

    `private`: paths that no rule may reach.
    """
    libraries = _libraries()
    hidden = {Path(path).resolve() for path in private} | _other_packages(libraries)
    above = {folder for one in hidden for folder in one.parents}
    for path in libraries:
        yield from readable(path, hidden, above)
    yield from ((Path(name), landlock.READ) for name in _shared_objects())


def _libraries() -> set[Path]:
    """The folders of Python and its packages. Other folders on sys.path are left out: the checkout may be one."""
    own = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    prefix = f"{sys.base_prefix}/lib"
    if prefix not in _SYSTEM_LIBRARIES:
        own.add(prefix)
    others = (*_LOADED_LATER, *_TIME_ZONES, *_CERTIFICATES, *_MIME_TYPES)
    return {Path(path).resolve() for path in (*own, *site.getsitepackages(), *others)}


def _shared_objects() -> Iterable[str]:
    """The system's libraries, file by file, as the dynamic linker's cache names them; without a cache their folders.

    The folders hold much else, and a host could leave a trace by each file there that it can read.
    """
    try:
        names = re.findall(rb"(/[^\0]+\.so[^\0]*)\0", Path(_LINKER_CACHE).read_bytes())
    except OSError:
        return _SYSTEM_LIBRARIES
    return {_LINKER_CACHE, *map(os.fsdecode, names)}


def _other_packages(libraries: set[Path]) -> set[Path]:
    """Package folders that this Python does not import from, and tau2 in those that it does."""
    folders = {
        folder
        for path in libraries
        for pattern in ("*-packages", "python*/*-packages")
        for folder in path.glob(pattern)
    }
    used = {Path(folder).resolve() for folder in sys.path}
    return {folder / "tau2" if folder in used else folder for folder in (one.resolve() for one in folders | used)}


def readable(
    path: Path, private: set[Path], above: set[Path], rights: int = landlock.READ
) -> Iterator[tuple[Path, int]]:
    """Rules for all beneath `path` except what is private, entry by entry: Landlock has no rule that forbids.

    `above`: every folder that something private lies in. `rights`: the rights to what is not private.
    """
    if path in private:
        return
    if path not in above:
        yield path, rights
        return
    yield path, landlock.LIST  # an import lists the folder
    with os.scandir(path) as entries:
        for entry in entries:
            if not entry.is_symlink():  # its target has its own rule, or must have none
                yield from readable(Path(entry.path), private, above, rights)
