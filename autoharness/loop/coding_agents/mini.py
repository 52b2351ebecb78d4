"""mini-swe-agent. Tried: 2.4.6."""

import json
import sys
from pathlib import Path

from autoharness.core.command_form import installing
from autoharness.core.errors import UserError
from autoharness.core.files import read_plain
from autoharness.core.settings import OFFLINE, Experiment
from autoharness.llm.prices import litellm_prices
from autoharness.loop.coding_agents.definition import PROVIDER_ADDRESSES, PROVIDER_KEYS, CodingAgent, Used, prompt_in

_LARGEST_TRAJECTORY_BYTES = 50_000_000


def _model(experiment: Experiment) -> str:
    model = experiment.coding_model or experiment.agent_model
    if experiment.coding_model is None and (experiment.agent_url or model.startswith((OFFLINE, "replay/"))):
        where = " on a server of its own" if experiment.agent_url else ""
        raise UserError(f"coding_model: mini needs a model of its own, since agent_model is {model}{where}")
    return model


def _arguments(experiment: Experiment, scratch: Path) -> list[str]:
    settings = {
        "agent": {
            "step_limit": experiment.coding_agent_turns,
            "cost_limit": experiment.coding_agent_usd or 0.0,
            "wall_time_limit_seconds": int(experiment.coding_agent_timeout_s),
        },
        # commands that its model writes have no use for the keys
        "environment": {"env": dict.fromkeys(MINI.key_names, ""), "timeout": 120},
        "model": {"litellm_model_registry": str(scratch / "prices.json"), "model_kwargs": {"drop_params": True}},
    }
    (scratch / "settings.yaml").write_text(json.dumps(settings))  # JSON is YAML
    (scratch / "prices.json").write_text(json.dumps(litellm_prices(experiment.prices)))
    model = ["-m", _model(experiment), "--model-class", "litellm", "--agent-class", "default"]
    files = ["-c", "mini.yaml", "-c", str(scratch / "settings.yaml"), "-o", str(scratch / "trajectory.json")]
    return [*model, "-y", "--exit-immediately", *files, "-t", prompt_in(scratch)]


def _used(printed: str, scratch: Path) -> Used:
    """Read from its trajectory. A cost of 0 for some tokens means that it knows no price."""
    try:
        trajectory = json.loads(read_plain(scratch / "trajectory.json", _LARGEST_TRAJECTORY_BYTES))
        cost_usd = float(trajectory["info"]["model_stats"]["instance_cost"])
        answers = [message.get("extra", {}).get("response") or {} for message in trajectory["messages"]]
        usages = [answer.get("usage") or {} for answer in answers]
    except (OSError, UserError):  # it wrote none
        return Used()
    tokens = [sum(int(usage.get(kind) or 0) for usage in usages) for kind in ("prompt_tokens", "completion_tokens")]
    return Used(tokens[0], tokens[1], cost_usd or (None if sum(tokens) else 0.0))


MINI = CodingAgent(
    name="mini",
    program=str(Path(sys.prefix) / "bin" / "mini"),
    install=installing("'mini-swe-agent>=2.4'"),
    arguments=_arguments,
    used=_used,
    prompt_on_stdin=False,
    keys=PROVIDER_KEYS,
    addresses=PROVIDER_ADDRESSES,
    settings=lambda experiment, scratch: {
        "MSWEA_CONFIGURED": "true",
        "MSWEA_SILENT_STARTUP": "1",
        "MSWEA_GLOBAL_CONFIG_DIR": str(scratch),
        "MSWEA_COST_TRACKING": "ignore_errors",
        "MSWEA_MODEL_RETRY_STOP_AFTER_ATTEMPT": "5",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    },
    takes_turns=True,
)
