"""The coding agents that the loop can drive: how each is started headless, and how it says what it spent.

tests/test_coding_agents.py looks for every flag in the agent's own `--help`, where it is installed, and has it edit
against a server of ours. They are told not to ask, and not to confine themselves: `coding_agent` does.
The versions that were tried stand at each.
"""

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autoharness.core.errors import UserError
from autoharness.core.experiment import OFFLINE, Experiment, litellm_prices
from autoharness.core.files import read_plain

SCRIPTED = "scripted"
PROMPT_FILE = "prompt.txt"
"""In the scratch folder."""
_PROVIDERS, _ADDRESSES = r".+_API_KEY", r".+_API_BASE|.+_BASE_URL"
_SCRIPT = Path(__file__).resolve().with_name("scripted_agent.py")
_BANK = Path("examples/edits.py")
_MILLION = 1_000_000
_LARGEST_TRAJECTORY_BYTES = 50_000_000
_LONGEST_LINE_CHARS = 500


@dataclass(frozen=True)
class Used:
    """What one run of a coding agent used, as far as it says so."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float | None = None

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True)
class CodingAgent:
    """One kind of coding agent. The callables are given the experiment and the agent's scratch folder."""

    name: str
    program: str
    install: str
    """The command that installs it."""
    arguments: Callable[[Experiment, Path], list[str]]
    used: Callable[[str, Path], Used]
    """From what it printed, and its scratch folder."""
    prompt_on_stdin: bool = True
    keys: str = ""
    """A pattern of the environment variables that are its keys."""
    addresses: str = ""
    """... and of those that say where its provider is."""
    settings: Callable[[Experiment, Path], Mapping[str, str]] = lambda experiment, scratch: {}
    """What else its environment says."""
    log_in: tuple[str, ...] = ()
    """Folders below the user's home: what a person's own log-in consists of. Without a key they are open to it."""
    log_in_settings: Callable[[Path], Mapping[str, str]] = lambda home: {}
    """What leads it to them."""
    takes_turns: bool = False
    says_tokens: bool = True
    """Whether it says what it used; one that used nothing has failed, whatever its exit code is."""
    uses_network: bool = True
    reads: Callable[[Experiment], list[str]] = lambda experiment: []
    """Further files that it has to read."""
    withheld: frozenset[str | None] = frozenset()
    """Variables that are another's keys."""

    def needs(self, variable: str) -> bool:
        """Whether it is given this variable of the environment."""
        if not self.keys or variable in self.withheld:
            return False
        return bool(re.fullmatch(f"(?:{self.keys})|(?:{self.addresses})", variable))

    @property
    def key_names(self) -> list[str]:
        """The variables with keys that are set."""
        names = (name for name, value in os.environ.items() if value and self.keys and name not in self.withheld)
        return sorted(name for name in names if re.fullmatch(self.keys, name))


def chosen(experiment: Experiment) -> CodingAgent:
    """The experiment's coding agent; where none is named the first that is installed. Raises UserError.

    Of the keys to servers of one's own it is given none, but for a variable that its one provider's key is in.
    """
    agent = _chosen(experiment)
    if agent.keys != _PROVIDERS:
        return agent
    return replace(agent, withheld=frozenset(one.key_name for one in experiment.endpoints.values()))


def _chosen(experiment: Experiment) -> CodingAgent:
    if experiment.coding_agent_command is not None:
        return _custom(experiment.coding_agent_command)
    if experiment.coding_agent is not None:
        return AGENTS[experiment.coding_agent]
    if experiment.simulated:
        return AGENTS[SCRIPTED]
    installed = [agent for agent in AGENTS.values() if agent.name not in (SCRIPTED, "mini")]
    return next((agent for agent in installed if shutil.which(agent.program)), AGENTS["mini"])


def _model(experiment: Experiment, flag: str = "--model") -> list[str]:
    return [flag, experiment.coding_model] if experiment.coding_model else []


def _json_lines(printed: str) -> Iterator[dict[str, Any]]:
    for line in printed.splitlines():
        try:
            value = json.loads(line) if line.startswith("{") else None
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            yield value


def prompt_in(scratch: Path) -> str:
    """The prompt, where the loop has put it."""
    return (scratch / PROMPT_FILE).read_text(encoding="utf-8")


def _first_set(*names: str) -> str:
    """The value of the first of these environment variables that is set."""
    return next((os.environ[name] for name in names if os.environ.get(name)), "")


AGENTS: dict[str, CodingAgent] = {}


# -- claude: Claude Code 2.1.197 (npm's choice for Node 20)


def _claude_arguments(experiment: Experiment, scratch: Path) -> list[str]:
    usd = experiment.coding_agent_usd
    return [
        *("-p", "--output-format", "stream-json", "--verbose", "--dangerously-skip-permissions"),
        *(
            "--no-session-persistence",
            "--strict-mcp-config",
            "--setting-sources",
            "",
            "--tools",
            "Bash,Edit,Read,Write",
        ),
        *("--max-turns", str(experiment.coding_agent_turns)),
        *(("--max-budget-usd", f"{usd:g}") if usd else ()),
        *_model(experiment),
    ]


def _claude_used(printed: str, scratch: Path) -> Used:
    results = [line for line in _json_lines(printed) if line.get("type") == "result"]
    if not results:
        return Used()
    usage = results[-1].get("usage") or {}
    prompt = sum(int(usage.get(name) or 0) for name in usage if name.endswith("input_tokens"))
    return Used(prompt, int(usage.get("output_tokens") or 0), results[-1].get("total_cost_usd"))


AGENTS["claude"] = CodingAgent(
    name="claude",
    program="claude",
    install="npm install --global @anthropic-ai/claude-code",
    arguments=_claude_arguments,
    used=_claude_used,
    keys="ANTHROPIC_API_KEY|ANTHROPIC_AUTH_TOKEN|CLAUDE_CODE_OAUTH_TOKEN",
    addresses="ANTHROPIC_BASE_URL",
    settings=lambda experiment, scratch: {
        "CLAUDE_CONFIG_DIR": str(scratch / ".claude"),
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "IS_SANDBOX": "1",  # it refuses to run without asking as root elsewhere
        "CLAUDE_CODE_MAX_RETRIES": "4",
        "API_TIMEOUT_MS": "120000",
    },
    log_in=(".claude",),
    log_in_settings=lambda home: {"CLAUDE_CONFIG_DIR": str(home / ".claude")},
    takes_turns=True,
)


# -- codex: 0.169.0


def _codex_arguments(experiment: Experiment, scratch: Path) -> list[str]:
    settings = {
        "check_for_update_on_startup": False,
        "web_search": "disabled",
        "analytics.enabled": False,
        "features.plugins": False,  # or it clones a repository at its start
        "features.apps": False,
    }
    if _first_set("OPENAI_API_KEY", "CODEX_API_KEY"):
        own = "model_providers.harness"
        settings |= {
            "model_provider": "harness",
            f"{own}.name": "harness",
            f"{own}.base_url": _first_set("OPENAI_BASE_URL", "OPENAI_API_BASE") or "https://api.openai.com/v1",
            f"{own}.env_key": "OPENAI_API_KEY" if _first_set("OPENAI_API_KEY") else "CODEX_API_KEY",
            f"{own}.wire_api": "responses",
        }
    overrides = [word for name, value in settings.items() for word in ("-c", f"{name}={json.dumps(value)}")]
    return [
        *("exec", "--json", "--skip-git-repo-check", "--ephemeral", "--dangerously-bypass-approvals-and-sandbox"),
        *("--color", "never", *overrides, *_model(experiment), "-"),
    ]


def _codex_used(printed: str, scratch: Path) -> Used:
    """It says no price."""
    usages = [line.get("usage") or {} for line in _json_lines(printed) if line.get("type") == "turn.completed"]
    return Used(*(sum(int(one.get(kind) or 0) for one in usages) for kind in ("input_tokens", "output_tokens")))


def _codex_settings(experiment: Experiment, scratch: Path) -> dict[str, str]:
    (scratch / ".codex").mkdir(exist_ok=True)
    return {"CODEX_HOME": str(scratch / ".codex")}


AGENTS["codex"] = CodingAgent(
    name="codex",
    program="codex",
    install="npm install --global @openai/codex",
    arguments=_codex_arguments,
    used=_codex_used,
    keys="OPENAI_API_KEY|CODEX_API_KEY",
    addresses="OPENAI_BASE_URL|OPENAI_API_BASE",
    settings=_codex_settings,
    log_in=(".codex",),
    log_in_settings=lambda home: {"CODEX_HOME": str(home / ".codex")},
)


# -- opencode: 1.18.33


_OWN_PROVIDER = "harness"
"""For opencode: to it `openai` is OpenAI itself, by another protocol than that of a server of one's own."""


def _opencode_own(experiment: Experiment) -> str:
    """The name of the model at a server of one's own; "" where there is none."""
    provider, _, model = (experiment.coding_model or "").partition("/")
    return model if provider == "openai" and _first_set("OPENAI_BASE_URL", "OPENAI_API_BASE") else ""


def _opencode_arguments(experiment: Experiment, scratch: Path) -> list[str]:
    own = _opencode_own(experiment)
    model = ["--model", f"{_OWN_PROVIDER}/{own}"] if own else _model(experiment)
    return ["run", "--format", "json", "--pure", "--auto", "--title", "one edit", *model]


def _opencode_settings(experiment: Experiment, scratch: Path) -> dict[str, str]:
    config: dict[str, Any] = {
        "autoupdate": False,
        "share": "disabled",
        "snapshot": False,
        "lsp": False,
        "formatter": False,
        "permission": "allow",
    }
    if own := _opencode_own(experiment):
        price = experiment.prices.get(experiment.coding_model or "")
        address = {"baseURL": _first_set("OPENAI_BASE_URL", "OPENAI_API_BASE"), "apiKey": "{env:OPENAI_API_KEY}"}
        models = {own: {"cost": price} if price else {}}
        provider = {"npm": "@ai-sdk/openai-compatible", "options": address, "models": models}
        config |= {"provider": {_OWN_PROVIDER: provider}, "small_model": f"{_OWN_PROVIDER}/{own}"}
    # what it would otherwise install into its home, at every start
    plugins = scratch / ".config" / "opencode"
    (plugins / "node_modules").mkdir(parents=True, exist_ok=True)
    lock = {"name": "x", "lockfileVersion": 3, "packages": {"": {"dependencies": {"@opencode-ai/plugin": "*"}}}}
    (plugins / "package-lock.json").write_text(json.dumps(lock))
    off = ("PROJECT_CONFIG", "CLAUDE_CODE", "AUTOUPDATE", "LSP_DOWNLOAD", "DEFAULT_PLUGINS")
    return {f"OPENCODE_DISABLE_{name}": "1" for name in off} | {"OPENCODE_CONFIG_CONTENT": json.dumps(config)}


def _opencode_used(printed: str, scratch: Path) -> Used:
    """A sum over its steps."""
    steps = [line.get("part") or {} for line in _json_lines(printed) if line.get("type") == "step_finish"]
    tokens = [step.get("tokens") or {} for step in steps]
    prompt = sum(int(one.get("input") or 0) + int((one.get("cache") or {}).get("read") or 0) for one in tokens)
    completion = sum(int(one.get("output") or 0) + int(one.get("reasoning") or 0) for one in tokens)
    cost_usd = sum(float(step.get("cost") or 0) for step in steps)
    return Used(prompt, completion, cost_usd or None)


AGENTS["opencode"] = CodingAgent(
    name="opencode",
    program="opencode",
    install="npm install --global opencode-ai",
    arguments=_opencode_arguments,
    used=_opencode_used,
    keys=_PROVIDERS,
    addresses=_ADDRESSES,
    settings=_opencode_settings,
    log_in=(".local/share/opencode",),
    log_in_settings=lambda home: {"XDG_DATA_HOME": str(home / ".local" / "share")},
)


# -- gemini: 0.61.0


def _gemini_arguments(experiment: Experiment, scratch: Path) -> list[str]:
    return ["--output-format", "stream-json", "--approval-mode", "yolo", "--skip-trust", *_model(experiment)]


def _gemini_settings(experiment: Experiment, scratch: Path) -> dict[str, str]:
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


def _gemini_used(printed: str, scratch: Path) -> Used:
    """It says no price."""
    results = [line for line in _json_lines(printed) if line.get("type") == "result"]
    stats = (results[-1].get("stats") or {}) if results else {}
    prompt, total = int(stats.get("input_tokens") or 0), int(stats.get("total_tokens") or 0)
    return Used(prompt, total - prompt)


AGENTS["gemini"] = CodingAgent(
    name="gemini",
    program="gemini",
    install="npm install --global @google/gemini-cli",
    arguments=_gemini_arguments,
    used=_gemini_used,
    keys="GEMINI_API_KEY|GOOGLE_API_KEY",
    addresses="GOOGLE_GEMINI_BASE_URL",
    settings=_gemini_settings,
    log_in=(".gemini",),
    log_in_settings=lambda home: {"GEMINI_CLI_HOME": str(home)},
    takes_turns=True,
)


# -- aider: 0.86.2


def _aider_arguments(experiment: Experiment, scratch: Path) -> list[str]:
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
    return [*_model(experiment), *off, *histories, *prompt, *reads, *writes]


def _aider_used(printed: str, scratch: Path) -> Used:
    """From its lines "Tokens: 1.0k sent, 100 received. Cost: $0.0020 message, $0.0020 session."."""
    lines = [line for line in printed.splitlines() if line.startswith("Tokens: ") and len(line) < _LONGEST_LINE_CHARS]
    tokens = [
        pair for line in lines for pair in re.findall(r"Tokens: ([\d.]+k?M?) sent,.*?([\d.]+k?M?) received", line)
    ]
    costs = [cost for line in lines for cost in re.findall(r"\$([\d.]+) session", line)]
    sums = [sum(_count(pair[side]) for pair in tokens) for side in (0, 1)]
    return Used(sums[0], sums[1], float(costs[-1].rstrip(".")) if costs else None)


def _count(text: str) -> int:
    """1234, 1.2k or 1.2M."""
    factor = {"k": 1000, "M": _MILLION}.get(text[-1], 1)
    return round(float(text.rstrip("kM").rstrip(".")) * factor)


AGENTS["aider"] = CodingAgent(
    name="aider",
    program="aider",
    install="uv tool install aider-chat",
    arguments=_aider_arguments,
    used=_aider_used,
    keys=_PROVIDERS,
    addresses=_ADDRESSES,
)


# -- mini: mini-swe-agent 2.4.6


def _mini_model(experiment: Experiment) -> str:
    model = experiment.coding_model or experiment.agent_model
    if experiment.coding_model is None and (experiment.agent_url or model.startswith((OFFLINE, "replay/"))):
        where = " on a server of its own" if experiment.agent_url else ""
        raise UserError(f"coding_model: mini needs a model of its own, since agent_model is {model}{where}")
    return model


def _mini_arguments(experiment: Experiment, scratch: Path) -> list[str]:
    settings = {
        "agent": {
            "step_limit": experiment.coding_agent_turns,
            "cost_limit": experiment.coding_agent_usd or 0.0,
            "wall_time_limit_seconds": int(experiment.coding_agent_timeout_s),
        },
        # commands that its model writes have no use for the keys
        "environment": {"env": dict.fromkeys(AGENTS["mini"].key_names, ""), "timeout": 120},
        "model": {"litellm_model_registry": str(scratch / "prices.json"), "model_kwargs": {"drop_params": True}},
    }
    (scratch / "settings.yaml").write_text(json.dumps(settings))  # JSON is YAML
    (scratch / "prices.json").write_text(json.dumps(litellm_prices(experiment.prices)))
    model = ["-m", _mini_model(experiment), "--model-class", "litellm", "--agent-class", "default"]
    files = ["-c", "mini.yaml", "-c", str(scratch / "settings.yaml"), "-o", str(scratch / "trajectory.json")]
    return [*model, "-y", "--exit-immediately", *files, "-t", prompt_in(scratch)]


def _mini_used(printed: str, scratch: Path) -> Used:
    """From its trajectory. A cost of 0 for some tokens says that it knows no price."""
    try:
        trajectory = json.loads(read_plain(scratch / "trajectory.json", _LARGEST_TRAJECTORY_BYTES))
        cost_usd = float(trajectory["info"]["model_stats"]["instance_cost"])
        answers = [message.get("extra", {}).get("response") or {} for message in trajectory["messages"]]
        usages = [answer.get("usage") or {} for answer in answers]
    except (OSError, UserError):  # it wrote none
        return Used()
    tokens = [sum(int(usage.get(kind) or 0) for usage in usages) for kind in ("prompt_tokens", "completion_tokens")]
    return Used(tokens[0], tokens[1], cost_usd or (None if sum(tokens) else 0.0))


AGENTS["mini"] = CodingAgent(
    name="mini",
    program=str(Path(sys.prefix) / "bin" / "mini"),
    install="pip install 'mini-swe-agent>=2.4'",
    arguments=_mini_arguments,
    used=_mini_used,
    prompt_on_stdin=False,
    keys=_PROVIDERS,
    addresses=_ADDRESSES,
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


# -- any other, and the scripted one


def _custom(command: list[str]) -> CodingAgent:
    """`{prompt}` and `{prompt_file}` stand for the prompt; where neither is named it comes on stdin."""

    def arguments(experiment: Experiment, scratch: Path) -> list[str]:
        file = str(scratch / PROMPT_FILE)
        return [word.replace("{prompt_file}", file).replace("{prompt}", prompt_in(scratch)) for word in command[1:]]

    named = any("{prompt}" in word or "{prompt_file}" in word for word in command)
    return CodingAgent(
        name=Path(command[0]).name,
        program=command[0],
        install="see coding_agent_command",
        arguments=arguments,
        used=lambda printed, scratch: Used(),
        prompt_on_stdin=not named,
        keys=_PROVIDERS,
        addresses=_ADDRESSES,
        says_tokens=False,
    )


def _scripted_arguments(experiment: Experiment, scratch: Path) -> list[str]:
    bank = [] if "--bank" in experiment.coding_agent_args else ["--bank", str(_BANK.absolute())]
    return ["-I", "-B", str(_SCRIPT), *bank]


def _scripted_reads(experiment: Experiment) -> list[str]:
    return [str(_SCRIPT), str(_BANK.absolute()), *(word for word in experiment.coding_agent_args if "/" in word)]


AGENTS[SCRIPTED] = CodingAgent(
    name=SCRIPTED,
    program=sys.executable,
    install="it comes with auto-harness",
    arguments=_scripted_arguments,
    used=lambda printed, scratch: Used(cost_usd=0.0),
    prompt_on_stdin=False,
    takes_turns=True,
    says_tokens=False,
    uses_network=False,
    reads=_scripted_reads,
)
