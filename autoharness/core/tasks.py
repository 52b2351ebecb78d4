"""Facts about a domain and its tasks, as data that does not need tau2."""

import random
from dataclasses import dataclass
from typing import Any

from autoharness.core.outcomes import digest

_TRAIN_SHARE = 0.6

Json = dict[str, Any]


@dataclass(frozen=True)
class DomainFacts:
    """What a run must know about a domain before it starts, and what the agent is given."""

    domain: str
    flavour: str
    version: str
    data_files: dict[str, str]
    """The domain's data: SHA-256 by path, relative to the data folder."""
    splits: dict[str, list[str]]
    policy: str
    tools: list[Json]
    about: str = ""
    """What a coding agent is told about the user's own benchmark."""
    data_checksum: str = ""
    """Digest of `data_files`."""
    suitable: list[str] | None = None
    """The tasks that the experiment's agent can run; None: all."""
    user_sha256: str = ""
    """SHA-256 of the code of the user's own user simulator."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "data_checksum", digest(self.data_files))


@dataclass(frozen=True)
class Step:
    """One of a task's reference actions."""

    requestor: str
    """"assistant", or "user" for what the customer does."""
    name: str
    arguments: Json
    decisive: bool
    """Whether it changes a database, or is checked by itself."""


@dataclass(frozen=True)
class Script:
    """A task as its author meant it to go: what the offline model plays from."""

    domain: str
    task_id: str
    policy: str
    request: str
    """What the customer wants and knows, as the scenario says it."""
    steps: tuple[Step, ...]
    to_say: tuple[str, ...]
    """What the agent must have told the customer in the end."""

    @property
    def key(self) -> str:
        return f"{self.domain}/{self.task_id}"


def cut(task_ids: list[str]) -> dict[str, list[str]]:
    """Splits for a task set that comes without train and test: 60 to 40, always the same cut."""
    shuffled = random.Random(0).sample(task_ids, len(task_ids))
    train = set(shuffled[: round(len(task_ids) * _TRAIN_SHARE)])
    test = set(task_ids) - train
    return {"train": in_order(task_ids, train), "test": in_order(task_ids, test), "base": list(task_ids)}


def in_order(task_ids: list[str], chosen: set[str]) -> list[str]:
    """The chosen ids, in the order of the first argument."""
    return [task_id for task_id in task_ids if task_id in chosen]
