"""Stands for the simulation worker: the process that an attack runs under, and may harm.

    python stage.py JOB

JOB is a JSON file: {"mode", "confinement": {...}, "source": of the attack, "world": what the attack is told,
"turn_timeout_s", "free_cpu_s", "linger_s", "llm_s": how long its model takes}.

It has a key in its environment, an inheritable descriptor on the task file, and its working folder is the checkout.
It gives the attack one simulation of two turns, lets an innocent agent have a turn after that, and prints one line of
JSON: what it saw.
"""

import fcntl
import json
import os
import resource
import secrets
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from autoharness import host as host_module
from autoharness import watchdog
from autoharness.errors import HostFailed, SimulationError
from autoharness.gateway import AGENT, Limits, Session
from autoharness.host import AgentFile, Confinement, Host, checked_reply

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
        self._host, self._world, self._name = host, world, secrets.token_hex(16)

    def have(self, turns: int) -> dict[str, Any]:
        """{"replies": as they were checked, "error": what ended it}"""
        replies: list[Any] = []
        error = ""
        policy = json.dumps(self._world)
        try:
            self._call("start", tools=[], domain_policy=policy, llm=MODEL, llm_args={}, history=[])
            for _ in range(turns):
                replies.append(checked_reply(self._call("next", message=USER_SAYS)))
        except SimulationError as failure:
            error = f"{type(failure).__name__}: {failure}"
        finally:
            self._host.forget(self._name)
        return {"replies": replies, "error": error}

    def _call(self, call: str, **arguments: Any) -> Any:
        return self._host.call(self._name, call, self._complete, **arguments)

    def _complete(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._session.complete_for_agent(request, lambda: {"messages": [{"role": "user", "content": "Hi"}]})


def condition(ledger: str) -> dict[str, Any]:
    """Of this process and of the ledger: what an attack may have changed."""
    return {
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "affinity": sorted(os.sched_getaffinity(0)),
        "limits": [resource.getrlimit(what) for what in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE)],
        "priority of input and output": _io_priority(),
        "chosen to be killed": Path("/proc/self/oom_score_adj").read_text(),
        "ledger is free": _is_free(ledger),
    }


def _io_priority() -> int:
    import ctypes

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


def left_over(folder: Path) -> list[int]:
    """Processes that have this host's folder in their environment: they came from it."""
    found = []
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            if process.name.isdigit() and str(folder).encode() in (process / "environ").read_bytes():
                found.append(int(process.name))
    return found


def perform(job: dict[str, Any]) -> dict[str, Any]:
    watchdog._FREE_CPU_S = job.get("free_cpu_s", watchdog._FREE_CPU_S)  # ten seconds are long for a test
    host_module._LONGEST_SEND_S = 1  # and so are five
    world = job["world"]
    folder = Path(world["vault"]) / "runs"
    confinement = Confinement(job["mode"], folder, **job["confinement"])

    def host(source: str) -> Host:
        return Host(AgentFile(source + TAIL, MODEL, EFFORT), job["turn_timeout_s"], confinement)

    report: dict[str, Any] = {"before": condition(world["ledger"])}
    began = time.monotonic()
    attacker = host(job["source"])
    report["layers"] = attacker.layers
    attack = Conversation(world, attacker, job.get("llm_s", 0.0))
    report |= attack.have(turns=2)
    time.sleep(job.get("linger_s", 0))
    report |= {"after": condition(world["ledger"]), "alive": attacker.alive, "death": attacker._death}
    attacker.close()
    report["lasted_s"] = time.monotonic() - began
    report["asked"] = attack.model.asked
    report["child_peak_mb"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    report["own_peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    report["left over"] = left_over(attacker._folder)
    report["folder left"] = attacker._folder.exists()
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
