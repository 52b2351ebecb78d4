"""aider. Tried: 0.86.2."""

import re
from pathlib import Path

from autoharness.core.settings import Experiment
from autoharness.loop.coding_agents.definition import (
    PROMPT_FILE,
    PROVIDER_ADDRESSES,
    PROVIDER_KEYS,
    CodingAgent,
    Used,
    model_arguments,
)

_LONGEST_LINE_CHARS = 500


def _arguments(experiment: Experiment, scratch: Path) -> list[str]:
    off = (
        *("--yes-always", "--no-git", "--no-gitignore", "--no-check-update", "--no-show-release-notes"),
        *("--analytics-disable", "--no-show-model-warnings", "--no-auto-lint", "--no-auto-test", "--no-stream"),
        *("--no-pretty", "--no-fancy-input", "--no-detect-urls", "--no-suggest-shell-commands", "--no-notifications"),
        *("--disable-playwright", "--map-tokens", "0", "--max-chat-history-tokens", "100000000"),
    )
    histories = [
        word
        for kind in ("input", "chat", "llm")
        for word in (f"--{kind}-history-file", str(scratch / f"{kind}.history"))
    ]
    # it reads and writes what it is given, and nothing else
    reads = ["--read", "PROGRAM.md", "--read", "workspace/diagnosis.md", "--read", "autoharness/agent_api.py"]
    writes = ["agent/agent.py", "workspace/note.md", "workspace/prediction.json"]
    prompt = ["--message-file", str(scratch / PROMPT_FILE), "--env-file", str(scratch / "none.env")]
    return [*model_arguments(experiment), *off, *histories, *prompt, *reads, *writes]


def _used(printed: str, scratch: Path) -> Used:
    """Read from its lines "Tokens: 1.0k sent, 100 received. Cost: $0.0020 message, $0.0020 session."."""
    lines = [line for line in printed.splitlines() if line.startswith("Tokens: ") and len(line) < _LONGEST_LINE_CHARS]
    tokens = [
        pair for line in lines for pair in re.findall(r"Tokens: ([\d.]+k?M?) sent,.*?([\d.]+k?M?) received", line)
    ]
    costs = [cost for line in lines for cost in re.findall(r"\$([\d.]+) session", line)]
    sums = [sum(_count(pair[side]) for pair in tokens) for side in (0, 1)]
    return Used(sums[0], sums[1], float(costs[-1].rstrip(".")) if costs else None)


def _count(text: str) -> int:
    """1234, 1.2k or 1.2M."""
    factor = {"k": 1000, "M": 1_000_000}.get(text[-1], 1)
    return round(float(text.rstrip("kM").rstrip(".")) * factor)


AIDER = CodingAgent(
    name="aider",
    program="aider",
    install="uv tool install aider-chat",
    arguments=_arguments,
    used=_used,
    keys=PROVIDER_KEYS,
    addresses=PROVIDER_ADDRESSES,
)
