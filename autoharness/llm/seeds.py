"""Seeds of one's own for agent, user simulator and judge (`seeds: per_role`), all from the experiment's root seed.

tau2 draws one seed for each trial number, and agent and user simulator of every task are asked with that one. Here
each (task, trial number, role) has its own, by a digest: it stays what it is whatever else is run beside it.
"""

import hashlib
import json
from typing import Any

from autoharness.llm.providers import Model, Request, Response

_LARGEST = 0x7FFFFFFF
"""Every provider takes a seed of 31 bits."""


def role_seed(root: int, task_id: str, trial: int, role: str) -> int:
    """The first four bytes of the SHA-256 of `[root, task_id, trial, role]` as JSON, without the sign."""
    path = json.dumps([root, task_id, trial, role])
    return int.from_bytes(hashlib.sha256(path.encode()).digest()[:4], "big") & _LARGEST


class Seeded:
    """A model that is asked with a role's own seed wherever it would be asked with the trial's.

    User simulator and judge are; a seed among the judge's arguments stays, one among the user simulator's tau2 itself
    replaces by the trial's. An agent may leave it out, or choose another: that is part of a harness.
    """

    def __init__(self, model: Model, trial_seed: int, seed: int, always: bool) -> None:
        """`always`: also where a request has no seed."""
        self._model = model
        self._trial_seed = trial_seed
        self._seed = seed
        self._without: Any = trial_seed if always else None

    def __call__(self, request: Request) -> Response:
        """Raises ProviderFault."""
        own = request.get("seed", self._without) == self._trial_seed
        return self._model({**request, "seed": self._seed} if own else request)
