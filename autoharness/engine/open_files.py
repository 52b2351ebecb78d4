"""How many files a process may have open (`ulimit -n`), and how many conversations fit into that.

A command raises its own limit as far as the system lets it, and holds fewer conversations at a time if that is not
enough: `max_concurrency` is how many there may be, not how many there must be.
"""

import resource
from contextlib import suppress

from autoharness.core.errors import UserError

_MOST = 65_536
"""Enough for everything that is started here; some programs are slow with limits in the millions."""
_OF_A_PROCESS = 32
"""The files that a worker or the door has open before a conversation begins; some of them only briefly."""
_OF_A_CONVERSATION = 4
"""Its agent host's channel and output, what it said so far, and a connection to an LLM."""


def raise_limit() -> None:
    """Raise the limit to the hard limit, for this process and for those that it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    with suppress(ValueError, OSError):  # macOS has a lower limit than it says
        if soft != resource.RLIM_INFINITY and soft < most:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def fitting(conversations: int, workers: int) -> int:
    """How many of these conversations this many worker processes can hold. Raises UserError if not even one."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return conversations
    room = (limit - _OF_A_PROCESS) // _OF_A_CONVERSATION
    if room < 1:
        needed = _OF_A_PROCESS + _OF_A_CONVERSATION
        raise UserError(
            f"ulimit -n: {limit} open files are allowed, and {needed} are needed: ulimit -n 4096 (ulimit -Hn, by an "
            "administrator); the same command goes on"
        )
    return min(conversations, room * workers)
