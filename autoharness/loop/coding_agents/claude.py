"""Claude Code. Tried: 2.1.197, npm's choice for Node 20."""

from pathlib import Path

from autoharness.core.settings import Experiment
from autoharness.loop.coding_agents.definition import CodingAgent, Used, json_lines, model_arguments


def _arguments(experiment: Experiment, scratch: Path) -> list[str]:
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
        *model_arguments(experiment),
    ]


def _used(printed: str, scratch: Path) -> Used:
    results = [line for line in json_lines(printed) if line.get("type") == "result"]
    if not results:
        return Used()
    usage = results[-1].get("usage") or {}
    prompt = sum(int(usage.get(name) or 0) for name in usage if name.endswith("input_tokens"))
    return Used(prompt, int(usage.get("output_tokens") or 0), results[-1].get("total_cost_usd"))


CLAUDE = CodingAgent(
    name="claude",
    program="claude",
    install="npm install --global @anthropic-ai/claude-code",
    arguments=_arguments,
    used=_used,
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
