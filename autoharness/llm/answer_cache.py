"""Answers of LLMs that outlive their run (`llm_cache`): who asks what another agent file asked is answered alike.

They are kept for each trial: the same task and trial number, the same model and arguments, the same request, asked
for the same time. So a candidate shares the conversation with the incumbent up to where their prompts part: fewer
calls are paid for, and less noise is in a comparison of the two. Other trials of the task have answers of their own,
or repeating them would measure nothing.
"""

import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from autoharness.core.errors import UserError

Json = dict[str, Any]


class Answers:
    """Those in a folder of the vault. Used by many threads and processes."""

    def __init__(self, folder: Path) -> None:
        """Raises UserError where the library is not installed."""
        try:
            import diskcache
        except ImportError:
            raise UserError("llm_cache: diskcache is not installed: pip install 'auto-harness[cache]'") from None
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(OSError):  # somebody else's
            folder.chmod(0o700)  # conversations of held-out tasks are in it
        # nothing is ever dropped: or the two sides of a comparison would differ in what they find
        self._cache = diskcache.Cache(str(folder), disk=diskcache.JSONDisk, eviction_policy="none")
        self._lock = threading.Lock()

    def find(self, key: str) -> Json | None:
        """None also where the folder cannot be read: an answer that is not found is paid for."""
        with self._lock, suppress(Exception):  # sqlite's, the disk's
            answer = self._cache.get(key)
            return answer if isinstance(answer, dict) else None
        return None

    def keep(self, key: str, answer: Json) -> None:
        """The first answer stays. Where the disk is full it is not kept: it was paid for, and counts all the same."""
        with self._lock, suppress(Exception):
            self._cache.add(key, answer)
