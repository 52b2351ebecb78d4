"""Runs of one simulation with an edited template, for tests of whatever happens in it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from conftest import TEMPLATE

from autoharness.core.outcomes import Outcome, Trial
from autoharness.engine.simulator import Simulator

TASK, MODEL = "create_task_1", "openai/solver"

Json = dict[str, Any]
MakeSimulator = Callable[..., Simulator]


def run(simulator: Simulator, task_id: str = TASK, diagnose: bool = False, unfinished: Path | None = None) -> Outcome:
    return simulator.run(Trial(task_id, 0, 626729), diagnose, unfinished)


def edited(code: str) -> str:
    """The template, with its turn replaced by the body `code`."""
    body = "\n".join(f"    {line}" for line in code.splitlines())
    return (
        f"{TEMPLATE}\n\nturn = HarnessAgent.generate_next_message\n\n\ndef edit(self, message, state):\n{body}\n\n\n"
        + ("HarnessAgent.generate_next_message = edit\n")
    )


def preceded(code: str) -> str:
    """The template, with `code` before each of its turns."""
    imports = "import os, threading, time\nfrom pathlib import Path"
    return edited(f"{imports}\n{code}\nreturn turn(self, message, state)")
