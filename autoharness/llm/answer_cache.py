"""A cache of LLM answers across runs (`llm_cache`): agent files that send the same request get the same answer.

Answers are kept for each trial: the same task and trial number, the same model and arguments, the same request, asked
the same number of times before. So a candidate shares the conversation with the incumbent up to where their prompts
differ: fewer calls are paid for, and a comparison of the two has less noise. Other trials of the task have their own
answers, otherwise repeating them would measure nothing.
"""

import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from autoharness.core.command_form import installing
from autoharness.core.errors import UserError

Json = dict[str, Any]

_EXTRA = "'auto-harness[cache]'"


class Answers:
    """The answers in a folder of the vault. Used by many threads and processes."""

    def __init__(self, folder: Path) -> None:
        """Raises UserError if the library is not installed."""
        try:
            import diskcache
        except ImportError:
            raise UserError(f"llm_cache: diskcache is not installed: {installing(_EXTRA)}") from None
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(OSError):  # somebody else's
            folder.chmod(0o700)  # conversations of held-out tasks are in it
        # nothing is ever dropped: otherwise the two sides of a comparison would differ in what they find
        self._cache = diskcache.Cache(str(folder), disk=diskcache.JSONDisk, eviction_policy="none")
        self._lock = threading.Lock()

    def find(self, key: str) -> Json | None:
        """None also if the folder cannot be read: an answer that is not found is paid for."""
        with self._lock, suppress(Exception):  # sqlite's, the disk's
            answer = self._cache.get(key)
            return answer if isinstance(answer, dict) else None
        return None

    def keep(self, key: str, answer: Json) -> None:
        """The first answer stays. If the disk is full it is not kept: it was paid for, and counts all the same."""
        with self._lock, suppress(Exception):
            self._cache.add(key, answer)
