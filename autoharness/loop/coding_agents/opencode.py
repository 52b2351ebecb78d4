"""opencode. Tried: 1.18.33."""

import json
from pathlib import Path
from typing import Any

from autoharness.core.settings import Experiment
from autoharness.loop.coding_agents.definition import (
    PROVIDER_ADDRESSES,
    PROVIDER_KEYS,
    CodingAgent,
    Used,
    first_set,
    json_lines,
    model_arguments,
)

_OWN_PROVIDER = "harness"
"""For opencode, `openai` is OpenAI itself, by another protocol than that of the user's own server."""


def _own(experiment: Experiment) -> str:
    """The name of the model at the user's own server; "" if there is none."""
    provider, _, model = (experiment.coding_model or "").partition("/")
    return model if provider == "openai" and first_set("OPENAI_BASE_URL", "OPENAI_API_BASE") else ""


def _cost(price: dict[str, float]) -> dict[str, float]:
    """By opencode's names."""
    return {"cache_read" if name == "cached_input" else name: usd for name, usd in price.items()}


def _arguments(experiment: Experiment, scratch: Path) -> list[str]:
    own = _own(experiment)
    model = ["--model", f"{_OWN_PROVIDER}/{own}"] if own else model_arguments(experiment)
    return ["run", "--format", "json", "--pure", "--auto", "--title", "one edit", *model]


def _settings(experiment: Experiment, scratch: Path) -> dict[str, str]:
    config: dict[str, Any] = {
        "autoupdate": False,
        "share": "disabled",
        "snapshot": False,
        "lsp": False,
        "formatter": False,
        "permission": "allow",
    }
    if own := _own(experiment):
        price = experiment.prices.get(experiment.coding_model or "")
        address = {"baseURL": first_set("OPENAI_BASE_URL", "OPENAI_API_BASE"), "apiKey": "{env:OPENAI_API_KEY}"}
        models = {own: {"cost": _cost(price)} if price else {}}
        provider = {"npm": "@ai-sdk/openai-compatible", "options": address, "models": models}
        config |= {"provider": {_OWN_PROVIDER: provider}, "small_model": f"{_OWN_PROVIDER}/{own}"}
    # what it would otherwise install into its home, at every start
    plugins = scratch / ".config" / "opencode"
    (plugins / "node_modules").mkdir(parents=True, exist_ok=True)
    lock = {"name": "x", "lockfileVersion": 3, "packages": {"": {"dependencies": {"@opencode-ai/plugin": "*"}}}}
    (plugins / "package-lock.json").write_text(json.dumps(lock))
    off = ("PROJECT_CONFIG", "CLAUDE_CODE", "AUTOUPDATE", "LSP_DOWNLOAD", "DEFAULT_PLUGINS")
    return {f"OPENCODE_DISABLE_{name}": "1" for name in off} | {"OPENCODE_CONFIG_CONTENT": json.dumps(config)}


def _used(printed: str, scratch: Path) -> Used:
    """A sum over its steps."""
    steps = [line.get("part") or {} for line in json_lines(printed) if line.get("type") == "step_finish"]
    tokens = [step.get("tokens") or {} for step in steps]
    prompt = sum(int(one.get("input") or 0) + int((one.get("cache") or {}).get("read") or 0) for one in tokens)
    completion = sum(int(one.get("output") or 0) + int(one.get("reasoning") or 0) for one in tokens)
    cost_usd = sum(float(step.get("cost") or 0) for step in steps)
    return Used(prompt, completion, cost_usd or None)


OPENCODE = CodingAgent(
    name="opencode",
    program="opencode",
    install="npm install --global opencode-ai",
    arguments=_arguments,
    used=_used,
    keys=PROVIDER_KEYS,
    addresses=PROVIDER_ADDRESSES,
    settings=_settings,
    log_in=(".local/share/opencode",),
    log_in_settings=lambda home: {"XDG_DATA_HOME": str(home / ".local" / "share")},
)
