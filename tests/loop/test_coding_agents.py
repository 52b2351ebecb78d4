"""Each coding agent, as far as it is installed: its flags are its own, and it edits, confined, against our server."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from coding_agent_server import COMPLETION_TOKENS, PROMPT_TOKENS, CodingAgentServer
from conftest import ROOT, TEMPLATE

from autoharness.core.errors import UserError
from autoharness.core.settings import CODING_AGENTS, Experiment
from autoharness.loop import coding_agent
from autoharness.loop.coding_agent import Coder, Ran
from autoharness.loop.coding_agents.choice import AGENTS, chosen
from autoharness.loop.coding_agents.definition import PROMPT_FILE, CodingAgent
from autoharness.loop.worktree import Worktree

INSTALLED = ROOT / ".venv" / "coding-agents" / "node_modules" / ".bin"
"""Where `make coding-agents` puts them."""
EDITED = "# edited\n"
EDIT = "echo '# edited' >> agent/agent.py; echo 'an idea' > workspace/note.md"
SUBMIT = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
"""How mini is told that it is done."""
MODELS = {
    "claude": "claude-sonnet-4-5",
    "codex": "gpt-5-codex",
    "opencode": "openai/scripted",
    "gemini": "gemini-2.5-pro",
    "aider": "openai/scripted",
    "mini": "openai/scripted",
}
BLOCK = f"""agent/agent.py
```
<<<<<<< SEARCH
        return answer, state
=======
        return answer, state
{EDITED}>>>>>>> REPLACE
```
"""
"""How aider is told to edit."""
HIDDEN = {"--max-turns"}
"""Flags that an agent takes and its help leaves out: `test_edits_confined` passes them."""
each_agent = pytest.mark.parametrize("name", MODELS)


def _installed(name: str) -> CodingAgent:
    """The agent, with its program's place. Skips where it is not installed."""
    agent = AGENTS[name]
    found = shutil.which(agent.program, path=f"{INSTALLED}:{os.environ['PATH']}")
    if found is None:
        pytest.skip(f"{name} is not installed: make coding-agents")
    return replace(agent, program=found)


def _environment(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    addresses = {"ANTHROPIC_BASE_URL": url, "OPENAI_API_BASE": f"{url}/v1", "GOOGLE_GEMINI_BASE_URL": url}
    for variable, value in addresses.items():
        monkeypatch.setenv(variable, value)
    for variable in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.setenv(variable, "sk-scripted-key-0123456789")


@pytest.fixture(autouse=True)
def _without_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading all libraries takes a second, and has tests of its own."""
    monkeypatch.setattr(coding_agent, "settle", lambda *folders: [])


@pytest.fixture
def worktree(tmp_path: Path) -> Worktree:
    """As the loop makes one, without git."""
    made = Worktree(tmp_path / "session")
    for folder in (made.root / "agent", made.root / "workspace", made.root / "autoharness", made.scratch):
        folder.mkdir(parents=True)
    (made.root / "agent" / "agent.py").write_text(TEMPLATE)
    (made.root / "PROGRAM.md").write_text("Edit.")
    (made.root / "workspace" / "diagnosis.md").write_text("Everything failed.")
    (made.root / "autoharness" / "agent_api.py").write_text("")
    return made


def _run(agent: CodingAgent, worktree: Worktree, **settings: object) -> Ran:
    model = MODELS[agent.name]
    given = {
        "coding_model": model,
        "coding_agent_timeout_s": 120.0,
        "prices": {model: {"input": 3.0, "output": 15.0}},
    }
    return Coder(agent, Experiment(**given | settings)).edit(worktree, worktree.folder / "transcript.txt", 1)  # type: ignore[arg-type]


@each_agent
def test_every_flag_stands_in_its_own_help(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = _installed(name)
    _environment(monkeypatch, "http://127.0.0.1:9")
    (tmp_path / PROMPT_FILE).write_text("the prompt")
    arguments = agent.arguments(Experiment(coding_model="a/model", coding_agent_usd=1.0), tmp_path)
    subcommand = [word for word in arguments[:1] if not word.startswith("-")]
    home = {
        "HOME": str(tmp_path),
        "PATH": f"{INSTALLED}:{os.environ['PATH']}",
        **agent.settings(Experiment(), tmp_path),
    }
    done = subprocess.run(
        [agent.program, *subcommand, "--help"], env=home, capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    flags = {word for word in arguments if re.fullmatch(r"--?[a-z][a-z-]*", word)} - HIDDEN
    listed = set(re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", done.stdout + done.stderr))
    positive = {flag.replace("--no-", "--") for flag in flags - listed}  # some list `--flag, --no-flag` as one
    assert flags and not {flag for flag in positive if flag not in listed}, done.stdout + done.stderr


@pytest.mark.slow
@each_agent
def test_edits_confined(name: str, worktree: Worktree, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = _installed(name)
    look = f"cat {ROOT / 'pyproject.toml'} > workspace/seen.txt; touch PROGRAM.md; {EDIT}"
    with CodingAgentServer([look, SUBMIT], text=BLOCK if name == "aider" else "Done.") as server:
        _environment(monkeypatch, server.url)
        ran = _run(agent, worktree, coding_agent_usd=1.0)
    transcript = (worktree.folder / "transcript.txt").read_text()
    assert (worktree.root / "agent" / "agent.py").read_text() != TEMPLATE, transcript
    assert EDITED in (worktree.root / "agent" / "agent.py").read_text()
    assert (ran.exit_code, ran.timed_out, ran.failed) == (0, False, False), transcript
    assert ran.tokens >= PROMPT_TOKENS + COMPLETION_TOKENS and ran.cost_usd and ran.cost_usd > 0
    assert "sk-scripted-key" not in transcript and any("sk-scripted-key" in key for key in server.keys)
    if name != "aider":  # it runs no commands
        assert (worktree.root / "workspace" / "seen.txt").read_text() == "", "the checkout is out of reach"
        assert (worktree.root / "workspace" / "note.md").read_text() == "an idea\n"


@pytest.mark.slow
@each_agent
def test_one_whose_provider_refuses_has_failed(
    name: str, worktree: Worktree, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = _installed(name)
    if name == "opencode":
        pytest.skip("it takes ten seconds, and ends with exit code 1")
    with CodingAgentServer([], status=401) as server:
        _environment(monkeypatch, server.url)
        ran = _run(agent, worktree, coding_agent_timeout_s=15.0)
    assert ran.failed or ran.timed_out
    assert (worktree.root / "agent" / "agent.py").read_text() == TEMPLATE


SAMPLES = {
    "claude": (
        '{"type":"result","is_error":false,"total_cost_usd":0.00918,"usage":{"input_tokens":2000,'
        '"cache_creation_input_tokens":400,"cache_read_input_tokens":600,"output_tokens":100}}',
        (3000, 100, 0.00918),
    ),
    "codex": ('{"type":"turn.completed","usage":{"input_tokens":2000,"output_tokens":100}}', (2000, 100, None)),
    "opencode": (
        '{"type":"step_finish","part":{"tokens":{"input":700,"output":50,"cache":{"read":300}},"cost":0.25}}\n'
        '{"type":"step_finish","part":{"tokens":{"input":700,"output":50,"reasoning":9},"cost":0.5}}',
        (1700, 109, 0.75),
    ),
    "gemini": (
        '{"type":"result","stats":{"total_tokens":2120,"input_tokens":2000,"output_tokens":100}}',
        (2000, 120, None),
    ),
    "aider": (
        "Tokens: 1.2k sent, 100 received. Cost: $0.0020 message, $0.0020 session.\n"
        "Tokens: 900 sent, 1.5k cache hit, 50 received. Cost: $0.01 message, $0.0120 session.",
        (2100, 150, 0.012),
    ),
}


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("noise", ["", "{not json\nTokens\n[1]\n"], ids=["alone", "among-other-lines"])
def test_reads_what_it_used(name: str, noise: str, tmp_path: Path) -> None:
    printed, expected = SAMPLES[name]
    used = AGENTS[name].used(noise + printed, tmp_path)
    assert (used.prompt_tokens, used.completion_tokens, used.cost_usd) == expected
    assert AGENTS[name].used(noise, tmp_path).tokens == 0


def test_the_configuration_knows_the_same_names() -> None:
    assert set(CODING_AGENTS) == set(AGENTS)


def test_the_default_is_the_first_that_is_installed_then_mini(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert chosen(Experiment(agent_model="gpt-5.4")).name == "mini"
    (tmp_path / "gemini").write_text("#!/bin/sh\n")
    (tmp_path / "gemini").chmod(0o755)
    assert chosen(Experiment(agent_model="gpt-5.4")).name == "gemini"
    assert chosen(Experiment(agent_model="gpt-5.4", coding_agent="codex")).name == "codex"
    assert chosen(Experiment(agent_model="offline/clerk")).name == "scripted", "no key is spent unasked"
    assert chosen(Experiment(coding_agent_command=["/opt/mine", "{prompt}"])).name == "mine"


def test_mini_needs_a_model_where_the_agent_has_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="coding_model: mini needs a model of its own"):
        AGENTS["mini"].arguments(Experiment(agent_model="offline/clerk"), tmp_path)


def test_keys_go_to_the_agent_whose_they_are() -> None:
    assert AGENTS["claude"].needs("ANTHROPIC_API_KEY") and AGENTS["claude"].needs("ANTHROPIC_BASE_URL")
    assert not AGENTS["claude"].needs("OPENAI_API_KEY") and not AGENTS["codex"].needs("ANTHROPIC_API_KEY")
    assert AGENTS["mini"].needs("GROQ_API_KEY") and not AGENTS["mini"].needs("AUTOHARNESS_VAULT")
    assert not AGENTS["scripted"].needs("OPENAI_API_KEY")
    assert sys.executable == AGENTS["scripted"].program
