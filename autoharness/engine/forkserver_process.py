"""Starts the fork server and asks it for workers: the door's side of `forkserver`."""

import json
import os
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from autoharness.benchmarks.tau2 import data
from autoharness.core.endpoints import check_proxies, sparing_loopback
from autoharness.core.errors import UserError
from autoharness.core.redaction import addresses
from autoharness.core.settings import Experiment
from autoharness.import_finder import python_path

START_METHOD = "fork" if sys.platform == "linux" else "spawn"
_IN_WORKER = "AUTOHARNESS_IN_WORKER"
_FORKSERVER = Path(__file__).resolve().with_name("forkserver.py")
_LONGEST_END_S = 10.0


class ForkServerProcess:
    """The fork server, as the door uses it."""

    def __init__(self, experiment: Experiment, log: Path, simulates: bool) -> None:
        """Raises UserError if a proxy cannot be used, and in a worker.

        The user's own code in a worker would start workers that start workers.
        """
        if os.environ.get(_IN_WORKER):
            raise UserError("a simulation cannot run a benchmark: splits() and simulate() are called in its workers")
        check_proxies()
        servers = [*addresses().values(), *(endpoint.url for endpoint in experiment.endpoints.values())]
        own = {**data.environment(), **sparing_loopback(servers), "PYTHONPATH": python_path(), _IN_WORKER: "yes"}
        self.log = log
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, log.open("ab") as output:  # appended: an earlier one's last words stay
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(_FORKSERVER), str(theirs.fileno()), START_METHOD],
                pass_fds=[theirs.fileno()],
                env=os.environ | own,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is the door's to handle
            )
        with suppress(OSError):  # it died at once: the code that waits for its worker finds out
            self._control.send(json.dumps({"experiment": experiment.to_json(), "simulates": simulates}).encode())

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def fork(self, channel: socket.socket, log: Path) -> None:
        """Have it fork a worker for the far end of this channel. If it is gone, that end closes."""
        log.touch()
        with channel, suppress(OSError):
            socket.send_fds(self._control, [json.dumps({"log": str(log)}).encode()], [channel.fileno()])

    def close(self) -> None:
        """Ends the workers too, once their channels are closed."""
        self._control.close()
        try:
            self._process.wait(timeout=_LONGEST_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
