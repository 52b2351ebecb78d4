"""The fork server: imports the benchmark and litellm once, loads the domain once, and forks the simulation workers.

    python -P forkserver.py DESCRIPTOR fork|spawn

Packets in, over a Unix socket:  {experiment, simulates: whether LLMs will be asked}, then for each worker
{"log": file} with a descriptor: its channel to the door. It stays single-threaded, and runs no simulation. When the
door is gone and its socket closes, it ends the workers that did not end by themselves, then itself.

`spawn` starts each worker as a separate program: on macOS, system libraries do not survive a fork.
"""

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

if __name__ == "__main__":
    sys.pycache_prefix = __file__  # as in a door
    sys.path.insert(0, str(Path(__file__).parents[2]))  # the door's package, wherever it lies
    import autoharness

    del sys.path[0]
    autoharness.begin()

from autoharness.benchmarks.loading import load
from autoharness.benchmarks.protocol import Benchmark
from autoharness.core.channel import connect
from autoharness.core.errors import ChannelError, UserError
from autoharness.core.settings import Experiment
from autoharness.core.standard_streams import forgiving
from autoharness.engine.messages import Mistake, send
from autoharness.engine.worker import Worker

_LONGEST_PACKET = 1024 * 1024
_LONGEST_END_S = 5.0
_WORKER = Path(__file__).with_name("worker.py")


class ForkServer:
    """Starts workers until its socket closes."""

    def __init__(self, control: socket.socket, fork: bool) -> None:
        self._control = control
        self._fork = fork
        self._benchmark: Benchmark | None = None
        self._children: set[int] = set()

    def serve(self) -> None:
        packet = self._control.recv(_LONGEST_PACKET)
        if not packet:
            return
        begun = json.loads(packet)
        problem = self._warm_up(Experiment(**begun["experiment"]), begun["simulates"]) if self._fork else ""
        while True:
            packet, descriptors, _, _ = socket.recv_fds(self._control, _LONGEST_PACKET, 1)
            if not packet:
                break
            if not descriptors:
                continue  # there are too many open files: the door sees that the channel is closed
            if problem:
                with suppress(ChannelError):  # the door has given this worker up
                    send(connect(descriptors[0]), Mistake(problem))
            else:
                self._begin_worker(descriptors[0], json.loads(packet)["log"])
                os.close(descriptors[0])
            self._reap()
        self._end_all()

    def _warm_up(self, experiment: Experiment, simulates: bool) -> str:
        """Load what every worker needs. Returns the problem that no worker could solve; "" if there is none."""
        gc.disable()  # nothing of what is imported is garbage: looking for it takes a quarter of the time
        try:
            self._benchmark = load(experiment)
            self._benchmark.warm_up(experiment.domain)
        except UserError as error:
            return str(error)
        if simulates and experiment.provider_models:
            import litellm  # noqa: F401
        gc.collect()
        gc.freeze()  # otherwise the first collection in each worker would copy what they share
        gc.enable()
        return ""

    def _begin_worker(self, channel: int, log: str) -> None:
        if not self._fork:
            command = [sys.executable, "-P", str(_WORKER), str(channel)]
            with Path(log).open("ab") as output:
                process = subprocess.Popen(command, pass_fds=[channel], stdout=output, stderr=output)
            self._children.add(process.pid)
            return
        try:
            child = os.fork()
        except OSError as error:  # too many processes: the door sees that the channel is closed
            print(f"no worker: {error}", file=sys.stderr, flush=True)
            return
        if child:
            self._children.add(child)
            return
        self._control.close()
        output_fd = os.open(log, os.O_WRONLY | os.O_APPEND)
        os.dup2(output_fd, sys.stdout.fileno())
        os.dup2(output_fd, sys.stderr.fileno())
        os.close(output_fd)
        Worker(connect(channel), self._benchmark).serve()
        os._exit(0)  # threads that still wait for an LLM must not keep the process

    def _reap(self) -> None:
        for child in list(self._children):
            with suppress(ChildProcessError):
                if not os.waitpid(child, os.WNOHANG)[0]:
                    continue
            self._children.discard(child)

    def _end_all(self) -> None:
        """Workers end by themselves once they see that the door is gone; the rest is killed."""
        deadline_s = time.monotonic() + _LONGEST_END_S
        self._reap()
        while self._children and time.monotonic() < deadline_s:
            time.sleep(0.01)
            self._reap()
        for child in self._children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


def main() -> None:
    # a full disk takes no log; must come before tau2, which keeps the stream
    sys.stdout, sys.stderr = forgiving(sys.stdout), forgiving(sys.stderr)
    ForkServer(socket.socket(fileno=int(sys.argv[1])), fork=sys.argv[2] == "fork").serve()
    os._exit(0)


if __name__ == "__main__":
    main()
