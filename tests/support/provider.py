"""A provider that solves the mock domain's tasks, but for the faults that a test wants."""

import json
import threading
import time
from typing import Any

from llm_server import Fault
from mood import Mood
from solver import Solver

from autoharness.benchmarks.tau2.adapter import Tau2

Json = dict[str, Any]


INFRASTRUCTURE = {
    "429": Fault(429),
    "500": Fault(500),
    "503": Fault(503),
    "408": Fault(408),
    "401": Fault(401),
    "403": Fault(403),
    "hang": Fault(hang_s=30),
    "truncated": Fault(truncate=True),
    "not-json": Fault(body="<html>Bad gateway</html>"),
    "no-choices": Fault(body='{"id": "x", "object": "chat.completion", "choices": []}'),
    "no-completion": Fault(body='{"hello": "world"}'),
    "every-request-400": Fault(400, '{"error": {"message": "model has no tools"}}'),
    "every-request-404": Fault(404, '{"error": {"message": "no such model"}}'),
}
"""Faults that are nobody's, by name."""


class Provider:
    """Solves tasks, except that `fault` answers the requests of one role, the first `times` from `after` on.

    With a `mood`, its role's requests are answered by that.
    """

    def __init__(self, tau2: Tau2) -> None:
        self._solver = Solver(tau2._tasks("mock").values())
        self._lock = threading.Lock()
        self.fault: Fault | Json | None = None
        self.mood: Mood | None = None
        self.asked = 0
        self.role, self.after, self.times, self.only_if = "agent", 0, 10**6, ""
        self.answered = 0
        self.wait_s = 0.0

    def reply(self, request: Json) -> Json | Fault:
        with self._lock:
            self.asked += 1
            if self._is_faulty(request):
                self.times -= 1
                assert self.fault is not None
                return self.fault
            self.answered += 1
        time.sleep(self.wait_s)
        if self.mood and self.mood.role in (_role(request), "all"):
            return self.mood.reply(request, self._solver.reply)
        return self._solver.reply(request)

    def _is_faulty(self, request: Json) -> bool:
        if self.fault is None or _role(request) != self.role or self.only_if not in json.dumps(request):
            return False
        self.after -= 1
        return self.after < 0 < self.times


def _role(request: Json) -> str:
    text = json.dumps(request)
    return "judge" if "metExpectation" in text else "user" if "<scenario>" in text else "agent"
