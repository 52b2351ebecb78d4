"""Stands for the simulation worker: the process that an attack runs under, and may harm.

    python stage.py JOB

JOB is a JSON file: {"mode", "confinement": {...}, "source": of the attack, "world": what the attack is told,
"turn_timeout_s", "free_cpu_s", "linger_s", "llm_s": how long its model takes}.

It has a key in its environment, an inheritable descriptor on the task file, and its working folder is the checkout.
It gives the attack one simulation of two turns, lets an innocent agent have a turn after that, and prints one line of
JSON: what it saw.
"""

import ctypes
import fcntl
import json
import mmap
import os
import resource
import signal
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lone_host import SETUP, LoneHost

from autoharness.core.errors import HostFailed, SimulationError
from autoharness.host import process as host_module
from autoharness.host import watchdog
from autoharness.host.process import AgentFile, Host
from autoharness.host.reply import checked_reply
from autoharness.host.starter import Confinement
from autoharness.llm.calls import AGENT, Limits
from autoharness.llm.gateway import Session

MODEL, EFFORT = "the-model", "low"
USER_SAYS = {"role": "user", "content": "Hello"}

TAIL = """

import json as _json

from autoharness.agent_api import AssistantMessage as _Answer


class HarnessAgent:
    def __init__(self, tools, domain_policy, llm=None, llm_args=None):
        self.world = _json.loads(domain_policy)

    def get_init_state(self, message_history=None):
        return 0

    def generate_next_message(self, message, turn):
        if turn:
            return _Answer(content="once more"), turn
        try:
            evidence = str(attack(self.world))
        except Exception as error:
            evidence = f"stopped: {type(error).__name__}: {error}"
        return _Answer(content=evidence.encode(errors="replace").decode()[:50_000] or "nothing"), turn + 1
"""
"""What makes an attack an agent file."""

INNOCENT = '''"""Asks the model once."""
from autoharness.agent_api import UserMessage, generate


def attack(world):
    return generate([UserMessage("Hi")]).content
'''


class Recorder:
    """A model that answers, and remembers what it was asked."""

    def __init__(self, takes_s: float) -> None:
        self.asked: list[dict[str, Any]] = []
        self._takes_s = takes_s

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        self.asked.append({name: value for name, value in request.items() if isinstance(value, str)})
        time.sleep(self._takes_s)
        return {"choices": [{"message": {"role": "assistant", "content": "You are welcome."}}], "cost_usd": 0.0}


class Conversation:
    """One simulation of one agent in a host of its own."""

    def __init__(self, world: dict[str, Any], host: Host, llm_s: float = 0.0) -> None:
        self.model = Recorder(llm_s)
        self._session = Session({AGENT: self.model}, MODEL, EFFORT, Limits(3, None, 0))
        self._host, self._world = host, world

    def have(self, turns: int) -> dict[str, Any]:
        """{"replies": as they were checked, "error": what ended it}"""
        replies: list[Any] = []
        error = ""
        policy = json.dumps(self._world)
        try:
            self._call("start", **SETUP | {"domain_policy": policy, "llm": MODEL})
            for _ in range(turns):
                replies.append(checked_reply(self._call("next", message=USER_SAYS)))
        except SimulationError as failure:
            error = f"{type(failure).__name__}: {failure}"
        return {"replies": replies, "error": error}

    def _call(self, call: str, **arguments: Any) -> Any:
        return self._host.call(call, self._complete, **arguments)

    def _complete(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._session.complete_for_agent(request, lambda: {"messages": [{"role": "user", "content": "Hi"}]})


def condition(world: dict[str, Any]) -> dict[str, Any]:
    """What an attack may have changed in this process, the ledger and a library."""
    return {
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "affinity": sorted(os.sched_getaffinity(0)),
        "limits": [resource.getrlimit(what) for what in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE)],
        "priority of input and output": _io_priority(),
        "chosen to be killed": Path("/proc/self/oom_score_adj").read_text(),
        "ledger is free": _is_free(world["ledger"]),
        "library is free": _is_unlocked(world["library"]),
        "library in memory": cached(world["library"]),
        "cold library in memory": cached(world["cold library"]),
    }


def _io_priority() -> int:
    number = {"x86_64": 252, "aarch64": 31}.get(os.uname().machine)
    return int(ctypes.CDLL(None).syscall(number, 1, 0)) if number else 0


def _is_free(path: str) -> bool:
    """Whether it can be opened and locked at once: no lease and no lock of somebody else's is on it."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    except BlockingIOError:
        return False
    except OSError:
        return True  # it is gone, which others notice
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _is_unlocked(path: str) -> bool:
    """Whether nobody has a lock of any kind on a file that one may only read."""
    anybody = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0)
    with Path(path).open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return struct.unpack_from("h", fcntl.fcntl(file, fcntl.F_GETLK, anybody))[0] == fcntl.F_UNLCK


def cached(path: str) -> int:
    """How many of the file's first pages are in memory."""
    library = ctypes.CDLL(None)
    library.mmap.restype = ctypes.c_void_p
    library.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    answer, length = ctypes.create_string_buffer(16), 16 * mmap.PAGESIZE
    with Path(path).open("rb") as file:
        page = library.mmap(None, length, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), 0)
    library.mincore(ctypes.c_void_p(page), ctypes.c_size_t(length), answer)
    library.munmap(ctypes.c_void_p(page), ctypes.c_size_t(length))
    return sum(byte & 1 for byte in answer.raw)


def _make_cold(path: str) -> None:
    """Written and dropped from memory."""
    with Path(path).open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def peak_mb(host: Host) -> int:
    with suppress(OSError, ValueError):  # it is gone, or only its number is left
        words = Path(f"/proc/{host._process.pid}/status").read_text().split()
        return int(words[words.index("VmHWM:") + 1]) // 1024
    ended = host._process.wait(0.1)
    return ended.peak_mb if ended else 0


def left_over(folder: Path) -> list[int]:
    """Processes that have something of this host's folder open, such as their output: they came from it."""
    found = []
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            links = [link.readlink() for link in [process / "cwd", *(process / "fd").iterdir()]]
            if process.name.isdigit() and any(str(link).startswith(str(folder)) for link in links):
                found.append(int(process.name))
    return found


def perform(job: dict[str, Any]) -> dict[str, Any]:
    watchdog._FREE_CPU_S = job.get("free_cpu_s", watchdog._FREE_CPU_S)  # ten seconds are long for a test
    host_module._LONGEST_SEND_S = 1  # and so are five
    # the worker: a host's own parent is what starts hosts
    world = job["world"] = job["world"] | {"parent": os.getpid()}
    folder = Path(world["vault"]) / "runs"
    confinement = Confinement(job["mode"], folder, **job["confinement"])

    def host(source: str) -> Host:
        return LoneHost(AgentFile(source + TAIL, MODEL, EFFORT), job["turn_timeout_s"], confinement)

    for library in ("library", "cold library"):
        _make_cold(world[library])
    Path(world["library"]).read_bytes()
    report: dict[str, Any] = {"before": condition(world)}
    began = time.monotonic()
    attacker = host(job["source"])
    report["layers"] = attacker.layers
    attack = Conversation(world, attacker, job.get("llm_s", 0.0))
    report |= attack.have(turns=2)
    until = time.monotonic() + job.get("linger_s", 0)
    while attacker.alive and time.monotonic() < until:
        time.sleep(0.1)
    report |= {"after": condition(world), "alive": attacker.alive, "death": attacker._death}
    report["child_peak_mb"] = peak_mb(attacker)
    attacker.close()
    report["lasted_s"] = time.monotonic() - began
    report["asked"] = attack.model.asked
    report["own_peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    report["left over"] = left_over(attacker._scratch)
    report["folder left"] = attacker._scratch.exists()
    for pid in report["left over"]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    try:
        good = host(INNOCENT)
        report["innocent"] = Conversation(world, good).have(turns=1)["replies"]
        good.close()
    except HostFailed as error:
        report["innocent"] = str(error)
    return report


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    os.set_inheritable(os.open(job["world"]["task_file"], os.O_RDONLY), True)
    print(json.dumps(perform(job)), flush=True)
    os._exit(0)  # threads of a host that hangs must not keep the process


if __name__ == "__main__":
    main()
