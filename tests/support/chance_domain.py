"""A domain of tau2's whose tools draw chance and read clocks, as tools of a later tau2 might."""

import datetime as datetime_module
import os
import random
import secrets
import time
import uuid
from collections.abc import Callable
from datetime import date, datetime
from random import choice, gauss
from time import time as now_s
from typing import Any
from uuid import uuid4

from pydantic import Field
from tau2.data_model.tasks import Task
from tau2.environment.db import DB
from tau2.environment.environment import Environment
from tau2.environment.toolkit import ToolKitBase, ToolType, is_tool
from tau2.registry import registry

NAME = "chance"


def _imported_inside() -> Any:
    from datetime import datetime as inside
    from random import shuffle

    numbers = list(range(50))
    shuffle(numbers)
    return inside.now(), numbers


def _numpy(draw: Callable[[Any], Any]) -> Callable[[], Any]:
    def drawn() -> Any:
        import numpy

        return draw(numpy)

    return drawn


_KEPT = random.Random(7)

SOURCES: dict[str, Callable[[], Any]] = {
    "uuid1": lambda: uuid.uuid1(),
    "uuid4": lambda: uuid.uuid4(),
    "uuid4-by-name": lambda: uuid4(),
    "urandom": lambda: os.urandom(8).hex(),
    "secrets": lambda: secrets.token_hex(8),
    "secrets-choice": lambda: secrets.choice(range(10**9)),
    "system-random": lambda: random.SystemRandom().random(),
    "random": lambda: random.random(),
    "choice-by-name": lambda: choice(range(10**9)),
    "gauss-by-name": lambda: gauss(0, 1),
    "sample": lambda: random.sample(range(10**6), 3),
    "a-generator-that-is-kept": lambda: (_KEPT.random(), _KEPT.gauss(0, 1), _KEPT.choice(range(10**9))),
    "a-generator-without-a-seed": lambda: random.Random().random(),
    "numpy": _numpy(lambda numpy: numpy.random.rand()),
    "numpy-integers": _numpy(lambda numpy: numpy.random.randint(0, 10**9)),
    "numpy-generator": _numpy(lambda numpy: numpy.random.default_rng().random()),
    "time": lambda: time.time(),
    "time-by-name": lambda: now_s(),
    "time_ns": lambda: time.time_ns(),
    "monotonic": lambda: time.monotonic(),
    "perf_counter": lambda: time.perf_counter(),
    "strftime": lambda: time.strftime("%H:%M:%S") + str(time.time_ns()),
    "localtime": lambda: (time.localtime(), time.perf_counter_ns()),
    "datetime-now": lambda: datetime.now(),
    "datetime-utcnow": lambda: datetime.utcnow().isoformat(),
    "date-today": lambda: (date.today(), uuid.uuid4()),
    "datetime-of-the-module": lambda: datetime_module.datetime.now(),
    "imported-inside": _imported_inside,
}


class Drawn(DB):
    drawn: dict[str, str] = Field(default_factory=dict)


class ChanceTools(ToolKitBase):
    db: Drawn

    @is_tool(ToolType.WRITE)
    def draw(self, name: str) -> str:
        """Draw and keep it.

        Args:
            name: From where.
        """
        drawn = str(SOURCES[name]())
        self.db.drawn[str(len(self.db.drawn))] = drawn
        return drawn

    @is_tool(ToolType.READ)
    def look(self, name: str) -> str:
        """Draw and forget it.

        Args:
            name: From where.
        """
        return str(SOURCES[name]())


class ChanceUserTools(ChanceTools):
    pass


def environment(solo_mode: bool = False, **_: Any) -> Environment:
    return Environment("chance", "Draw.", ChanceTools(Drawn()), ChanceUserTools(Drawn()))


def tasks(*_: Any) -> list[Task]:
    """`nothing`: leave the databases as they are. A source's name: draw once from it."""
    return [_task("nothing"), *(_task(name, name) for name in SOURCES)]


def _task(task_id: str, *drawn: str) -> Task:
    actions = [
        {"action_id": name, "name": "draw", "arguments": {"name": name}, "requestor": "assistant"} for name in drawn
    ]
    return Task.model_validate(
        {
            "id": task_id,
            "user_scenario": {"instructions": "Draw."},
            "evaluation_criteria": {"actions": actions, "reward_basis": ["DB"]},
        }
    )


def register() -> None:
    """Once for each process."""
    if NAME not in registry.get_domains():
        registry.register_domain(environment, NAME)
        registry.register_tasks(tasks, NAME)
