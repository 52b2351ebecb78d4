"""Google's Gemini CLI. Tried: 0.61.0."""

import json
from pathlib import Path

from autoharness.core.settings import Experiment
from autoharness.loop.coding_agents.definition import CodingAgent, Used, json_lines, model_arguments


def _arguments(experiment: Experiment, scratch: Path) -> list[str]:
    return ["--output-format", "stream-json", "--approval-mode", "yolo", "--skip-trust", *model_arguments(experiment)]


def _settings(experiment: Experiment, scratch: Path) -> dict[str, str]:
    config = {
        "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False, "maxAttempts": 5},
        "privacy": {"usageStatisticsEnabled": False},
        "telemetry": {"enabled": False},
        "security": {"auth": {"selectedType": "gemini-api-key"}, "folderTrust": {"enabled": False}},
        "model": {"maxSessionTurns": experiment.coding_agent_turns},
    }
    (scratch / ".gemini").mkdir(exist_ok=True)
    (scratch / ".gemini" / "settings.json").write_text(json.dumps(config))
    return {
        "GEMINI_CLI_HOME": str(scratch),
        "GEMINI_CLI_TRUST_WORKSPACE": "true",
        "GEMINI_CLI_NO_RELAUNCH": "true",
        "NO_BROWSER": "1",
    }


def _used(printed: str, scratch: Path) -> Used:
    """It says no price."""
    results = [line for line in json_lines(printed) if line.get("type") == "result"]
    stats = (results[-1].get("stats") or {}) if results else {}
    prompt, total = int(stats.get("input_tokens") or 0), int(stats.get("total_tokens") or 0)
    return Used(prompt, total - prompt)


GEMINI = CodingAgent(
    name="gemini",
    program="gemini",
    install="npm install --global @google/gemini-cli",
    arguments=_arguments,
    used=_used,
    keys="GEMINI_API_KEY|GOOGLE_API_KEY",
    addresses="GOOGLE_GEMINI_BASE_URL",
    settings=_settings,
    log_in=(".gemini",),
    log_in_settings=lambda home: {"GEMINI_CLI_HOME": str(home)},
    takes_turns=True,
)
