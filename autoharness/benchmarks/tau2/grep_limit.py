"""Limits `grep` of banking_knowledge: runs the agent's regular expression in a process that can be stopped.

Python searches with the interpreter's lock held, and some expressions take years, for example `(a+)+$`. So a separate
process, which has no keys and a few seconds of processor time, searches for everything but plain words.
"""

import json
import re
import subprocess
import sys
import threading
from contextlib import suppress
from functools import wraps
from typing import Any

_MOST_PROCESSOR_S = 5
_MOST_S = 60
"""A machine may be busy."""
_SEARCH = """
import json, re, resource, sys, time
asked = json.load(sys.stdin)
begun = time.process_time()
resource.setrlimit(resource.RLIMIT_CPU, (asked["seconds"], asked["seconds"]))
try:
    pattern = re.compile(asked["query"], asked["flags"])
except re.error:
    pattern = re.compile(re.escape(asked["query"]), asked["flags"])
counts = [len(pattern.findall(text)) for text in asked["texts"]]
json.dump({"counts": counts, "seconds": time.process_time() - begun}, sys.stdout)
"""
_spent = threading.local()

Json = dict[str, Any]


def spent_s() -> float:
    """The processor seconds of all searches that this thread has asked for."""
    return getattr(_spent, "seconds", 0.0)


def install(retriever_class: Any) -> None:
    """`retriever_class`: tau2-bench's GrepRetriever. Once for each process."""
    retrieve_in = retriever_class.retrieve

    @wraps(retrieve_in)
    def retrieve(self: Any, input_data: Json, state: Json) -> Any:
        query, texts = input_data[self.query_key], state[self.content_state_key]
        if query.replace(" ", "").isalnum() or not query.strip():
            return retrieve_in(self, input_data, state)
        counts = matches(query, list(texts.values()), case_sensitive=self.case_sensitive)
        found = [(name, float(count)) for name, count in zip(texts, counts, strict=True) if count]
        return sorted(found, key=lambda one: one[1], reverse=True)[: self.top_k]

    retriever_class.retrieve = retrieve


def matches(query: str, texts: list[str], *, case_sensitive: bool) -> list[int]:
    """How often an expression is in each text; one that Python cannot read is a plain word.

    Raises ValueError if that takes too long; tau2 returns it as the answer of the call.
    """
    flags = 0 if case_sensitive else int(re.IGNORECASE)
    asked = {"query": query, "flags": flags, "texts": texts, "seconds": _MOST_PROCESSOR_S}
    command = [sys.executable, "-I", "-S", "-c", _SEARCH]
    text, done = json.dumps(asked).encode(), None
    with suppress(subprocess.TimeoutExpired):
        done = subprocess.run(command, input=text, capture_output=True, env={}, timeout=_MOST_S)
    if done is None or done.returncode < 0:
        _spent.seconds = spent_s() + _MOST_PROCESSOR_S
        raise ValueError("The pattern takes too long")
    if done.returncode:
        raise ValueError(f"The pattern cannot be searched for: {done.stderr.decode(errors='replace')[-100:]}")
    found = json.loads(done.stdout)
    _spent.seconds = spent_s() + found["seconds"]
    counts: list[int] = found["counts"]
    return counts
