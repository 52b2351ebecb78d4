"""The command of a coding agent: which files its words open, and by which paths."""

from pathlib import Path

import pytest

from autoharness.core.errors import UserError
from autoharness.core.settings import Experiment
from autoharness.host import landlock
from autoharness.loop import coding_agent as coder_module
from autoharness.loop.coding_agent import Coder
from autoharness.loop.coding_agents.choice import chosen
from autoharness.loop.coding_agents.definition import files_in, with_whole_paths
from autoharness.loop.worktree import Worktree

needs_landlock = pytest.mark.skipif(not landlock.abi(), reason="the kernel has no Landlock")


@pytest.fixture
def worktree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Worktree:
    """As the loop makes one, without git; traces are not settled, which takes a second."""
    monkeypatch.setattr(coder_module, "settle", lambda *folders: [])
    made = Worktree(tmp_path / "session")
    for folder in (made.root / "agent", made.root / "workspace", made.scratch):
        folder.mkdir(parents=True)
    (made.root / "agent" / "agent.py").write_text("before\n")
    return made


@pytest.mark.slow
@needs_landlock
@pytest.mark.parametrize("command", [["python3", "mine/edit.py"], ["./mine/edit.sh"]], ids=["python", "shell"])
def test_a_script_of_the_checkout_may_be_the_coding_agent(
    worktree: Worktree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    """It runs in another folder: so its path is made whole, and it may read that file. Words that name the agent
    file mean the one that it edits."""
    (mine := tmp_path / "checkout" / "mine").mkdir(parents=True)
    (mine.parent / "agent").mkdir()
    (mine.parent / "agent" / "agent.py").write_text("the checkout's own\n")
    (mine / "beside.txt").write_text("a secret")
    (mine / "edit.py").write_text(
        "import os, sys; os.system('cat ../mine/beside.txt ' + os.path.dirname(sys.argv[0]) + '/beside.txt');"
        "open(sys.argv[1], 'w').write('edited\\n')"
    )
    (mine / "edit.sh").write_text("#!/bin/sh\ncat $(dirname $0)/beside.txt\necho edited > $1\n")
    (mine / "edit.sh").chmod(0o755)
    monkeypatch.chdir(mine.parent)
    experiment = Experiment(coding_agent_command=[*command, "agent/agent.py"])
    ran = Coder(chosen(experiment), experiment).edit(worktree, worktree.folder / "transcript.txt", 7)
    assert ran.exit_code == 0, ran.last_words
    assert "a secret" not in (worktree.folder / "transcript.txt").read_text(), "what lies beside it stays closed"
    assert (worktree.root / "agent" / "agent.py").read_text() == "edited\n"
    assert (mine.parent / "agent" / "agent.py").read_text() == "the checkout's own\n"


@pytest.mark.parametrize("word", [".env", "{vault}/trials/one.json", "--answers={benchmark}/tasks.json"])
def test_a_command_that_names_what_it_may_not_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    (checkout := tmp_path / "checkout").mkdir()
    for file in (checkout / ".env", tmp_path / "vault/trials/one.json", tmp_path / "benchmark/tasks.json"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("closed")
    monkeypatch.chdir(checkout)
    monkeypatch.setenv("AUTOHARNESS_VAULT", str(tmp_path / "vault"))
    named = word.format(vault=tmp_path / "vault", benchmark=tmp_path / "benchmark")
    experiment = Experiment(coding_agent_command=["python3", named])
    with pytest.raises(UserError, match="it may not read"):
        Coder(chosen(experiment), experiment, [str(tmp_path / "benchmark")])


def test_only_what_is_opened_to_it_gets_its_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bank.py").write_text("")
    (tmp_path / "autoharness").mkdir()
    (tmp_path / "autoharness" / "agent_api.py").write_text("")
    words = ["--bank", "bank.py", "--bank=bank.py", "--read", "autoharness/agent_api.py", "bank.p"]
    whole = str(tmp_path / "bank.py")
    assert with_whole_paths(words, []) == words
    assert with_whole_paths(words, files_in(words)) == ["--bank", whole, f"--bank={whole}", *words[3:]]


@pytest.mark.parametrize("words", [["--bank", "my_edits.py"], ["--seed", "1", "--bank=my_edits.py"]])
def test_a_bank_of_edits_that_is_not_there_is_one_line_at_the_start(words: list[str]) -> None:
    experiment = Experiment(coding_agent="scripted", coding_agent_args=words)
    with pytest.raises(UserError, match=r"--bank my_edits\.py: there is no such file"):
        Coder(chosen(experiment), experiment)
