"""Confines the process that runs the agent under optimisation, before a line of that agent is read. Child side.

Layers, each in force or not (docs/isolation.md):

    files           Landlock: reads Python and its libraries, its copy of the agent file; writes its scratch folder
    tcp             Landlock ABI 4: where the host serves a base URL, no other port
    network         where it serves one, a network of its own, in which there is nothing else
    signals         Landlock ABI 6: to itself alone
    calls           seccomp: no sockets, no processes, nothing that changes what belongs to others
    privileges      no capabilities, and none to be had
    limits          memory, open files, size of a file, processor time

What it does not protect: whether a file exists, its size and its times; what lies in the Python installation
besides tau2 and auto-harness; the processor's caches and clocks.
"""

import ctypes
import fcntl
import os
import resource
import site
import socket
import struct
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from autoharness import landlock, seccomp
from autoharness.errors import LayerMissing

Layers = dict[str, str]
"""For each layer "" where it is in force, else why not, in a few words."""

_MEGABYTE = 1024 * 1024
_MOST_CPU_S = 4 * 3600
"""A backstop, for a host that its worker cannot end any more."""
_MOST_OPEN_FILES = 1024
"""An event loop has three, and each simulation that waits for its LLM may have a loop of its own."""
_LARGEST_FILE_MB = 16
_NICENESS = 5

_SYSTEM_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache")
_TIME_ZONES = ("/etc/localtime", "/usr/share/zoneinfo")
_CERTIFICATES = ("/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/usr/share/ca-certificates", "/etc/pki/ca-trust")
"""Those of the authorities: HTTP clients load them even where nobody uses TLS."""
_MIME_TYPES = ("/etc/mime.types",)
"""HTTP clients guess by it; Python's `mimetypes` raises where it is there and cannot be read."""
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1
_PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 38, 47, 4
_CAPABILITIES_VERSION_3 = 0x20080522

NOT_ENFORCED = {
    "files": "the agent's code can read and write what this account can: the task data and the vault too",
    "tcp": "the agent's code can connect to any port by TCP (agent_base_url)",
    "network": "the agent's code can connect to other addresses by TCP (agent_base_url)",
    "calls": "the agent's code can open sockets, start processes, and change what belongs to others",
    "privileges": "the agent's code keeps the privileges of this account",
    "limits": "the agent's code can use up memory, processor and disk",
    "signals": "nothing by itself, where calls is in force: that refuses them too",
}
"""What a missing layer leaves open."""


def confine(setup: dict[str, Any], port: int | None = None) -> Layers:
    """Confine this process for good, as far as the kernel can. Call it while there is one thread.

    `setup`: {"agent_folder", "scratch": paths, "private": paths that no rule may reach, "memory_mb",
    "landlock_abi", "seccomp": what of the kernel's to use, for tests}. `port`: the one that stays open.
    """
    layers = {"limits": _tried(lambda: limit(setup["memory_mb"])), "privileges": _tried(drop_privileges)}
    version = min(landlock.abi(), setup["landlock_abi"])
    ports = [port] if port else []
    layers["files"] = _tried(lambda: landlock.restrict(_rules(setup), ports, version))
    if ports:
        layers["tcp"] = _since(landlock.TCP_SINCE, version)
    layers["signals"] = _since(landlock.SCOPES_SINCE, version)
    layers["calls"] = _tried(lambda: _filter(setup["seccomp"], bool(ports)))
    if not layers["files"]:
        _check_libraries()
    return layers


def own_network(setup: dict[str, Any]) -> str:
    """Move this process to a network that has nothing but its own 127.0.0.1; "" or why that cannot be had."""

    def move() -> None:
        if sys.platform != "linux":
            raise LayerMissing("this system has none")
        if not setup["seccomp"]:
            raise LayerMissing("left out")
        library = ctypes.CDLL(None, use_errno=True)
        # whoever is not privileged here is so in a user namespace of its own
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


def _rules(setup: dict[str, Any]) -> Iterator[tuple[Path, int]]:
    libraries = _libraries()
    private = {Path(path).resolve() for path in setup["private"]} | _other_packages(libraries)
    above = {folder for one in private for folder in one.parents}
    for path in libraries:
        yield from readable(path, private, above)
    child_side = [module.__file__ for name, module in sys.modules.items() if name.partition(".")[0] == "autoharness"]
    yield from ((Path(file), landlock.READ) for file in (*child_side, *_DEVICES, setup["agent_folder"]) if file)
    yield Path(os.devnull), landlock.WRITE
    yield Path(setup["scratch"]), landlock.WRITE


def _libraries() -> set[Path]:
    """Where Python and its packages lie. Other folders on sys.path are left out: the checkout may be one."""
    own = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    all_paths = {
        *own,
        *site.getsitepackages(),
        f"{sys.base_prefix}/lib",
        *_SYSTEM_LIBRARIES,
        *_TIME_ZONES,
        *_CERTIFICATES,
        *_MIME_TYPES,
    }
    return {Path(path).resolve() for path in all_paths}


def _other_packages(libraries: set[Path]) -> set[Path]:
    """Folders of packages that this Python does not import from, and tau2 in those that it does."""
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
    """Rules for all beneath `path` but what is private. Landlock cannot take away: hence entry by entry.

    `above`: every folder that something private lies in. `rights`: to what is not private.
    """
    if path in private:
        return
    if path not in above:
        yield path, rights
        return
    yield path, landlock.LIST  # an import lists the folder
    for entry in path.iterdir():
        if not entry.is_symlink():  # its target has a rule of its own, or is meant to have none
            yield from readable(entry, private, above, rights)


def _check_libraries() -> None:
    """Raises OSError where this account cannot read Python itself without its privileges.

    Better now than when the agent's code imports something, and is held to have failed.
    """
    for folder in (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")):
        next(Path(folder).iterdir())
    Path(os.__file__).read_bytes()
