"""OpenAI's Codex CLI. Tried: 0.169.0."""

import json
from pathlib import Path

from autoharness.core.settings import Experiment
from autoharness.loop.coding_agents.definition import CodingAgent, Used, first_set, json_lines, model_arguments


def _arguments(experiment: Experiment, scratch: Path) -> list[str]:
    settings = {
        "check_for_update_on_startup": False,
        "web_search": "disabled",
        "analytics.enabled": False,
        "features.plugins": False,  # otherwise it clones a repository at its start
        "features.apps": False,
    }
    if first_set("OPENAI_API_KEY", "CODEX_API_KEY"):
        own = "model_providers.harness"
        settings |= {
            "model_provider": "harness",
            f"{own}.name": "harness",
            f"{own}.base_url": first_set("OPENAI_BASE_URL", "OPENAI_API_BASE") or "https://api.openai.com/v1",
            f"{own}.env_key": "OPENAI_API_KEY" if first_set("OPENAI_API_KEY") else "CODEX_API_KEY",
            f"{own}.wire_api": "responses",
        }
    overrides = [word for name, value in settings.items() for word in ("-c", f"{name}={json.dumps(value)}")]
    return [
        *("exec", "--json", "--skip-git-repo-check", "--ephemeral", "--dangerously-bypass-approvals-and-sandbox"),
        *("--color", "never", *overrides, *model_arguments(experiment), "-"),
    ]


def _used(printed: str, scratch: Path) -> Used:
    """It says no price."""
    usages = [line.get("usage") or {} for line in json_lines(printed) if line.get("type") == "turn.completed"]
    return Used(*(sum(int(one.get(kind) or 0) for one in usages) for kind in ("input_tokens", "output_tokens")))


def _settings(experiment: Experiment, scratch: Path) -> dict[str, str]:
    (scratch / ".codex").mkdir(exist_ok=True)
    return {"CODEX_HOME": str(scratch / ".codex")}


CODEX = CodingAgent(
    name="codex",
    program="codex",
    install="npm install --global @openai/codex",
    arguments=_arguments,
    used=_used,
    keys="OPENAI_API_KEY|CODEX_API_KEY",
    addresses="OPENAI_BASE_URL|OPENAI_API_BASE",
    settings=_settings,
    log_in=(".codex",),
    log_in_settings=lambda home: {"CODEX_HOME": str(home / ".codex")},
)
