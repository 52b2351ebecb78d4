"""Looks through files for what nobody but the gate may know."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SHORTEST = 25
"""Characters of a text that is told apart from everyday words."""


def texts(value: Any) -> Iterator[str]:
    """All strings within."""
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from texts(inner)


class Search:
    """Looks for what the vault knows of held-out tasks: their ids, and what only their conversations hold."""

    def __init__(self, vault: Path, splits: dict[str, list[str]], known: str) -> None:
        outcomes = [json.loads(path.read_text())["outcome"] for path in vault.glob("*/trials/*.json")]
        by_side: dict[bool, set[str]] = {True: set(), False: set()}
        for outcome in outcomes:
            held_out = outcome["trial"]["task_id"] in splits["test"]
            by_side[held_out] |= {text for text in texts(outcome["messages"]) if len(text) >= SHORTEST}
        train = " ".join(by_side[False]) + known
        self.conversations = {text for text in by_side[True] if text not in train}
        self.needles = self.conversations | set(splits["test"])
        forms = self.needles | {json.dumps(text)[1:-1] for text in self.needles}
        self._forms = [form.encode() for form in forms]

    def in_text(self, text: str) -> bool:
        return any(form in text.encode() for form in self._forms)

    def in_folders(self, *folders: Path, since: float = 0.0) -> set[Path]:
        """The files that hold something of it, by name or content; those alone that are newer than `since`."""
        files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
        recent = [path for path in files if path.stat().st_mtime >= since]
        return {path for path in recent if self.in_text(str(path)) or self._is_in(path.read_bytes())}

    def _is_in(self, content: bytes) -> bool:
        return any(form in content for form in self._forms)
