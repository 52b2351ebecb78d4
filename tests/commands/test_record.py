"""`python record.py` takes the score from the gate, commits agent/agent.py alone, and survives a kill half-way."""

import subprocess

import pytest
from checkout import Checkout
from harnesses import GOOD_PROMPT

from autoharness.vault.ledger import Ledger
from autoharness.vault.ledger_rows import Gate
from autoharness.vault.store import Store
from autoharness.vault.workspace import export_ledger


def _gate(checkout: Checkout, source: bytes) -> None:
    """As after an accepted gate, without the seconds that one takes."""
    checkout.agent.write_bytes(source)
    store = Store(checkout.vault)
    ledger, suite = Ledger(store), {"1": 1.0, "2": 0.0}
    accepted = {"verdict": "accepted", "val_score": 0.75, "best": 0.5}
    ledger.append(Gate(ledger.measure, store.keep_agent(source), "mock test", suite=suite, reveals=2, **accepted))
    export_ledger(ledger, checkout.root / "workspace")


@pytest.fixture
def gated(prepared: Checkout) -> Checkout:
    _gate(prepared, GOOD_PROMPT.encode())
    return prepared


def _results(checkout: Checkout) -> list[list[str]]:
    return [line.split("\t") for line in (checkout.root / "workspace" / "results.tsv").read_text().splitlines()[1:]]


@pytest.mark.slow
def test_commits_the_agent_file_alone_and_adds_its_row(gated: Checkout) -> None:
    (gated.root / "other.txt").write_text("staged by somebody")
    gated.git("add", "other.txt")
    done = gated.run("record.py", "--val-score", "0.75", "--evals-passed", "1", "--evals-total", "2")
    assert done.returncode == 0, done.stderr
    assert gated.git("show", "--name-only", "--format=%s", "HEAD").split("\n\n") == [
        "harness: iteration 1, val_score 0.7500 (mock test)",
        "agent/agent.py\n",
    ]
    gate = Ledger(Store(gated.vault)).gates[-1]
    assert f"ledger row {gate.number}, sha256 {gate.sha256}" in gated.git("show", "--format=%B", "HEAD")
    assert "revealed: single held-out results were shown 2 times before" in done.stdout
    assert gated.git("status", "--porcelain", "other.txt").startswith("A ")
    assert [row[:5] for row in _results(gated)] == [
        ["0", "0.5000", gated.git("rev-parse", "HEAD~1")[:12], "0", "0"],
        ["1", "0.7500", gated.git("rev-parse", "HEAD")[:12], "1", "2"],
    ]
    (gated.root / "workspace" / "results.tsv").unlink()  # as where a kill came before it was written
    again = gated.run("record.py")
    assert (again.returncode, again.stdout) == (0, done.stdout)
    assert len(_results(gated)) == 2 and gated.git("rev-list", "--count", "HEAD") == "2\n"


@pytest.mark.parametrize("typed", ["--val-score 0.51", "--evals-passed 2", "--evals-total 3"])
def test_a_figure_that_is_not_the_gates_is_refused(gated: Checkout, typed: str) -> None:
    before = gated.contents()
    done = gated.run("record.py", *typed.split())
    assert done.returncode == 3 and f"{typed.split()[0]} " in done.stderr and "the gate says" in done.stderr
    assert gated.contents() == before


def test_the_baseline_is_nothing_to_record(prepared: Checkout) -> None:
    done = prepared.run("record.py")
    assert (done.returncode, done.stdout) == (3, "")


def test_a_wrong_figure_is_refused_also_after_it_was_recorded(gated: Checkout) -> None:
    assert gated.run("record.py").returncode == 0
    done = gated.run("record.py", "--val-score", "0.9")
    assert done.returncode == 3 and "the gate says 0.75" in done.stderr


def test_an_agent_that_was_changed_since_is_refused(gated: Checkout) -> None:
    gated.agent.write_text(GOOD_PROMPT + "\n")
    done = gated.run("record.py")
    assert (
        done.returncode == 3 and "is not what was gated last: " in done.stderr and done.stderr.endswith("gating.py\n")
    )


def test_killed_between_the_commit_and_the_row_the_same_command_adds_the_row(gated: Checkout) -> None:
    gated.git("commit", "--quiet", "--message", "harness: killed after this", "agent/agent.py")
    commits = gated.git("rev-list", "--count", "HEAD")
    assert gated.run("record.py").returncode == 0
    assert gated.git("rev-list", "--count", "HEAD") == commits
    assert [row[2] for row in _results(gated)][1] == gated.git("rev-parse", "HEAD")[:12]


def test_an_edited_results_file_decides_nothing_and_is_written_anew(gated: Checkout) -> None:
    results = gated.root / "workspace" / "results.tsv"
    results.write_text(results.read_text().replace("0.5000", "0.9999"))
    done = gated.run("record.py")
    assert (
        done.returncode == 0 and "results.tsv is not what the ledger says: kept as results.edited.tsv" in done.stderr
    )
    assert [row[1] for row in _results(gated)] == ["0.5000", "0.7500"]
    assert "0.9999" in (gated.root / "workspace" / "results.edited.tsv").read_text()


def test_without_a_repository_it_says_how_to_make_one(gated: Checkout) -> None:
    (gated.root / ".git").rename(gated.root / "away")
    done = gated.run("record.py")
    assert done.returncode == 3 and "git init" in done.stderr


def test_without_an_identity_git_commits_all_the_same(gated: Checkout) -> None:
    nobody = {"HOME": str(gated.root), "XDG_CONFIG_HOME": str(gated.root), "GIT_CONFIG_NOSYSTEM": "1"}
    assert gated.run("record.py", **nobody).returncode == 0
    assert gated.git("log", "-1", "--format=%an") == "auto-harness\n"


def test_a_change_that_git_was_told_to_overlook_is_committed_all_the_same(gated: Checkout) -> None:
    """The commit must have the file that was gated."""
    gated.git("update-index", "--assume-unchanged", "agent/agent.py")
    assert gated.run("record.py").returncode == 0
    assert gated.git("show", "HEAD:agent/agent.py") == GOOD_PROMPT


@pytest.mark.slow
@pytest.mark.parametrize("attributes", ["ident", "filter=upper", "text eol=crlf", "working-tree-encoding=UTF-16"])
def test_git_has_the_bytes_that_were_gated_whatever_its_attributes_say(gated: Checkout, attributes: str) -> None:
    (gated.root / ".git" / "info" / "attributes").write_text(f"agent/agent.py {attributes}\n")
    gated.git("config", "filter.upper.clean", "tr a-z A-Z")
    source = GOOD_PROMPT + "# $Id: 1 $\r\n"
    _gate(gated, source.encode())
    assert gated.run("record.py").returncode == 0
    assert (
        subprocess.run(["git", "cat-file", "blob", "HEAD:agent/agent.py"], cwd=gated.root, capture_output=True).stdout
        == source.encode()
    )


def test_an_agent_file_that_is_a_link_is_refused(gated: Checkout) -> None:
    gated.agent.rename(gated.root / "elsewhere.py")
    gated.agent.symlink_to(gated.root / "elsewhere.py")
    done = gated.run("record.py")
    assert (done.returncode, gated.git("rev-list", "--count", "HEAD")) == (3, "1\n")
    assert "agent/agent.py is a symbolic link" in done.stderr


def test_an_agent_folder_that_is_a_link_is_refused(gated: Checkout) -> None:
    (gated.root / "agent").rename(gated.root / "elsewhere")
    (gated.root / "agent").symlink_to(gated.root / "elsewhere")
    done = gated.run("record.py")
    assert (done.returncode, gated.git("rev-list", "--count", "HEAD")) == (3, "1\n")
    assert "agent is a symbolic link, or no folder" in done.stderr and len(done.stderr.splitlines()) == 1
