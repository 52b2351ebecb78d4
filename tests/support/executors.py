"""An executor for the mock domain, and what kills its workers."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from conftest import TEMPLATE

from autoharness.core.outcomes import Trial
from autoharness.core.settings import Experiment
from autoharness.engine.executor import LocalExecutor

TASKS = ["create_task_1", "update_task_1", "impossible_task_1", "create_task_1_with_env_assertions"]
TRIALS = [Trial(task_id, 0, 1) for task_id in TASKS]


def wait_for_pid(worker: Any) -> int:
    while not worker.pid:
        time.sleep(0.01)
    return int(worker.pid)


def kill_worker(worker: Any) -> None:
    with suppress(ProcessLookupError):  # it was killed before, and is given work until that is seen
        os.kill(wait_for_pid(worker), signal.SIGKILL)
    while not worker.ended:
        time.sleep(0.01)


def executor(folder: Path, **settings: Any) -> LocalExecutor:
    experiment = Experiment(domain="mock", agent_model="openai/x", max_concurrency=4, **settings)
    executor = LocalExecutor(experiment, folder)
    executor.use({"": TEMPLATE})
    return executor
