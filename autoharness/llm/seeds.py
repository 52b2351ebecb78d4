"""A seed of its own for each task, trial and role (`seeds: per_task`).

tau2 draws one seed for each trial number, and uses it for agent and user simulator of every task. On a server that
keeps to seeds, the tasks of a trial then share their luck: they are not independent, and intervals are too narrow.
"""

import hashlib
import json
from typing import Any

from autoharness.llm.providers import Model, Request, Response

_LARGEST = 0x7FFFFFFF
"""Every provider takes a seed of 31 bits."""


def role_seed(root: int, task_id: str, trial: int, role: str) -> int:
    """The first four bytes of the SHA-256 of `[root, task_id, trial, role]` as JSON, without the sign.

    `root`: the trial's own seed, which is a secret for held-out trials; with `per_role` the experiment's root seed.
    """
    path = json.dumps([root, task_id, trial, role])
    return int.from_bytes(hashlib.sha256(path.encode()).digest()[:4], "big") & _LARGEST


class Seeded:
    """A model that gets a role's own seed in place of the trial's.

    User simulator and judge get it; a seed among the judge's arguments stays, and tau2 itself replaces one among the
    user simulator's by the trial's. An agent may leave it out, or choose another: that is part of a harness.
    """

    def __init__(self, model: Model, trial_seed: int, seed: int, always: bool) -> None:
        """`always`: also if a request has no seed."""
        self._model = model
        self._trial_seed = trial_seed
        self._seed = seed
        self._without: Any = trial_seed if always else None

    def __call__(self, request: Request) -> Response:
        """Raises ProviderFault."""
        own = request.get("seed", self._without) == self._trial_seed
        return self._model({**request, "seed": self._seed} if own else request)
