"""Your own user simulator: `user: "module:Class"`, a class with the methods of tau2's user simulator.

An error in it is the user simulator's failure, never the agent's. `user_code` says where its file may be.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

from autoharness.benchmarks import user_code
from autoharness.core.errors import UserError
from autoharness.core.outcomes import digest

USER_METHODS = ("get_init_state", "generate_next_message", "set_seed", "stop")


@dataclass(frozen=True)
class OwnUser:
    """The class, and a digest of its code: its file, or its whole package if it is in one."""

    cls: Any
    sha256: str


def load(spec: str) -> OwnUser:
    """`spec`: such as "users:Impatient". Raises UserError."""
    cls = user_code.load("user", spec)
    missing = [method for method in USER_METHODS if not callable(getattr(cls, method, None))]
    if missing:
        raise UserError(f"user: {spec}: no user simulator: it has no {', '.join(missing)}")
    files = user_code.sources(user_code.files_of(spec, cls))
    return OwnUser(cls, digest([[name, hashlib.sha256(file.read_bytes()).hexdigest()] for name, file in files]))
