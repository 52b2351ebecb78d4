"""Answers of LLMs that outlive their run (`llm_cache`): who asks what another agent file asked is answered alike.

They are kept for each trial: the same task and trial number, the same model and arguments, the same request, asked
for the same time. So a candidate shares the conversation with the incumbent up to where their prompts part: fewer
calls are paid for, and less noise is in a comparison of the two. Other trials of the task have answers of their own,
or repeating them would measure nothing.
"""

import json
import threading
from pathlib import Path
from typing import Any

from autoharness.errors import UserError

Json = dict[str, Any]

_MOST_BYTES = 4 * 1024**3


class Answers:
    """Those in a folder of the vault. Used by many threads and processes."""

    def __init__(self, folder: Path) -> None:
        """Raises UserError where the library is not installed."""
        try:
            import diskcache
        except ImportError:
            raise UserError("llm_cache: diskcache is not installed: pip install 'auto-harness[cache]'") from None
        self._cache = diskcache.Cache(str(folder), disk=diskcache.JSONDisk, size_limit=_MOST_BYTES)
        self._lock = threading.Lock()

    def find(self, key: str) -> Json | None:
        with self._lock:
            text = self._cache.get(key)
        return json.loads(text) if isinstance(text, str) else None

    def keep(self, key: str, answer: Json) -> None:
        """The first answer stays."""
        with self._lock:
            self._cache.add(key, json.dumps(answer))
