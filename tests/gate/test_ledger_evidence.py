"""`report.py --verify` finds a ledger, a head or a log of reveals that is gone, and a history that was rewritten.

And an honest vault gives no finding, wherever it is looked at from and whatever was killed.
"""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from checkout import Checkout
from conftest import ROOT, TEMPLATE
from harnesses import GOOD_PROMPT

from autoharness.core.git_repository import Repository
from autoharness.core.outcomes import Outcome, Status, Trial
from autoharness.core.settings import AGENT_FILE
from autoharness.gate.ledger_evidence import Remark, compare
from autoharness.vault.iterations import Iteration, Iterations
from autoharness.vault.ledger import Ledger
from autoharness.vault.ledger_rows import Baseline, Gate, Record
from autoharness.vault.store import Store

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def _night_once(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A baseline, an edit that was accepted and recorded; and a person looked at single results before that."""
    checkout = Checkout.make(tmp_path_factory.mktemp("night"))
    assert checkout.run("prepare.py").returncode == 0
    assert checkout.run("benchmark.py", "--split", "test", "--reveal-held-out").returncode in (0, 1)
    checkout.agent.write_text(GOOD_PROMPT)
    assert checkout.run("gating.py").returncode == 0
    assert checkout.run("record.py").returncode == 0
    return checkout


@pytest.fixture
def night(_night_once: Checkout, tmp_path: Path) -> Checkout:
    return _night_once.copy(tmp_path / "own")


def _verified(checkout: Checkout) -> tuple[int, str, str]:
    done = checkout.run("report.py", "--verify")
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def _delete(*names: str) -> Callable[[Checkout], None]:
    def delete(night: Checkout) -> None:
        for name in names:
            (night.kept / name).unlink()

    return delete


def _empty(*names: str) -> Callable[[Checkout], None]:
    def empty(night: Checkout) -> None:
        for name in names:
            (night.kept / name).write_text("")

    return empty


def _cut(lines: int) -> Callable[[Checkout], None]:
    """The ledger has so many rows, and its head says so."""

    def cut(night: Checkout) -> None:
        rows = (night.kept / "ledger.jsonl").read_text().splitlines()[:lines]
        (night.kept / "ledger.jsonl").write_text("".join(f"{row}\n" for row in rows))
        (night.kept / "ledger.head.json").write_text(json.dumps({"rows": lines}))

    return cut


def _begin_again(night: Checkout) -> None:
    """Another baseline, as if nothing had been."""
    _delete("ledger.jsonl", "ledger.head.json")(night)
    night.git("checkout", "--quiet", "HEAD~1", "--", "agent/agent.py")
    assert night.run("prepare.py").returncode == 0


def _reset(night: Checkout) -> None:
    night.git("reset", "--quiet", "--hard", "HEAD~1")


def _amend(night: Checkout) -> None:
    night.agent.write_text(TEMPLATE)
    night.git("commit", "--quiet", "--amend", "--all", "--no-edit", "--allow-empty")


def _carry_on_in_its_name(night: Checkout) -> None:
    """A second commit that names the same row, and has another file."""
    message = night.git("log", "-1", "--format=%B")
    night.agent.write_text(TEMPLATE + "# more\n")
    night.git("commit", "--quiet", "--all", "--message", message)


def _name_another_row(night: Checkout) -> None:
    message = night.git("log", "-1", "--format=%B").replace("ledger row 1", "ledger row 7")
    night.git("commit", "--quiet", "--allow-empty", "--message", message)


WRITTEN = "lines that were written are not there"
TAMPERED = {
    "ledger and head deleted": (_delete("ledger.jsonl", "ledger.head.json"), WRITTEN),
    "ledger and head emptied": (_empty("ledger.jsonl", "ledger.head.json"), WRITTEN),
    "ledger deleted": (_delete("ledger.jsonl"), WRITTEN),
    "ledger emptied": (_empty("ledger.jsonl"), WRITTEN),
    "head deleted": (_delete("ledger.head.json"), "ledger.head.json is not there"),
    "head emptied": (_empty("ledger.head.json"), "ledger.head.json is not there"),
    "log deleted": (_delete("holdout.jsonl"), "holdout.jsonl: single results of mock had been shown 1 times"),
    "log emptied": (_empty("holdout.jsonl"), "and it has no run of them"),
    "all of them deleted": (_delete("ledger.jsonl", "ledger.head.json", "holdout.jsonl"), WRITTEN),
    "cut to the baseline": (_cut(1), "names ledger row 1, which the ledger does not have so"),
    "cut before the record": (_cut(2), WRITTEN),
    "begun again": (_begin_again, "names ledger row 1, which the ledger does not have so"),
    "history reset": (_reset, "is on no branch: the history was rewritten"),
    "history amended": (_amend, "is on no branch: the history was rewritten"),
    "the same row again": (_carry_on_in_its_name, "names ledger row 1, and has another agent/agent.py than that"),
    "a row that is none": (_name_another_row, "names ledger row 7, which the ledger does not have so"),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_what_is_gone_or_rewritten_is_found(night: Checkout, name: str) -> None:
    tamper, finding = TAMPERED[name]
    tamper(night)
    code, said, _ = _verified(night)
    assert code == 1 and finding in said, said


OLD = {
    "ledger and head deleted": (_delete("ledger.jsonl", "ledger.head.json"), "runs of commands that need a baseline"),
    "ledger deleted": (_delete("ledger.jsonl"), "rows are missing at its end"),
    "log deleted": (_delete("holdout.jsonl"), "holdout.jsonl: single results of mock had been shown 1 times"),
    "all of them deleted": (_delete("ledger.jsonl", "ledger.head.json", "holdout.jsonl"), "trials, of gates too"),
    "cut to the baseline": (_cut(1), "names ledger row 1, which the ledger does not have so"),
    "history reset": (_reset, "is on no branch: the history was rewritten"),
}


@pytest.fixture
def old_night(night: Checkout) -> Checkout:
    """As a version left it that counted no lines, and did not name the vault in a commit."""
    for file in Store(night.vault).folder.glob("*.lines"):
        file.unlink()
    message = night.git("log", "-1", "--format=%B").partition(", vault ")[0]
    night.git("commit", "--quiet", "--amend", "--message", message)
    rows = [json.loads(line) for line in (night.kept / "ledger.jsonl").read_text().splitlines()]
    (night.kept / "ledger.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows[:2]))
    (night.kept / "ledger.head.json").write_text('{"rows": 2}')
    assert night.run("record.py").returncode == 0
    for file in Store(night.vault).folder.glob("*.lines"):
        file.unlink()
    assert _verified(night)[0] == 0
    return night


@pytest.mark.parametrize("name", OLD)
def test_the_same_in_a_vault_of_an_older_version(old_night: Checkout, name: str) -> None:
    tamper, finding = OLD[name]
    tamper(old_night)
    code, said, _ = _verified(old_night)
    assert code == 1 and finding in said, said


# --- honest vaults


def test_an_honest_night_gives_no_finding_and_no_remark(night: Checkout) -> None:
    code, said, remarks = _verified(night)
    assert (code, remarks) == (0, "") and said.endswith(" 0 findings\n")


def _no_repository(night: Checkout) -> None:
    shutil.rmtree(night.root / ".git")


def _another_repository(night: Checkout) -> None:
    """A fresh clone without the history, or a copy that was committed anew."""
    shutil.rmtree(night.root / ".git")
    night.git("init", "--quiet")
    night.commit()


def _shallow(night: Checkout) -> None:
    night.git("commit", "--quiet", "--allow-empty", "-m", "later")
    night.git("clone", "--quiet", "--depth=1", f"file://{night.root}", str(night.root.parent / "clone"))
    shutil.rmtree(night.root / ".git")
    (night.root.parent / "clone" / ".git").rename(night.root / ".git")


def _partial(night: Checkout) -> None:
    """It has the trees, and a file's bytes only where somebody has asked for them."""
    night.git("config", "uploadpack.allowFilter", "true")
    clone = night.root.parent / "clone"
    night.git("clone", "--quiet", "--no-checkout", "--filter=blob:none", f"file://{night.root}", str(clone))
    shutil.rmtree(night.root / ".git")
    (clone / ".git").rename(night.root / ".git")


def _without_the_night(night: Checkout) -> None:
    """Another clone, to which the night's branch was never fetched."""
    first = night.git("rev-parse", "HEAD~1").strip()
    night.git("clone", "--quiet", "--no-local", "--bare", str(night.root), str(night.root.parent / "bare"))
    night.git("--git-dir", str(night.root.parent / "bare"), "update-ref", "refs/heads/master", first)
    night.git("clone", "--quiet", "--no-local", str(night.root.parent / "bare"), str(night.root.parent / "clone"))
    shutil.rmtree(night.root / ".git")
    (night.root.parent / "clone" / ".git").rename(night.root / ".git")


def _rebased(night: Checkout) -> None:
    night.git("checkout", "--quiet", "-b", "other", "HEAD~1")
    (night.root / "notes").write_text("")
    night.git("add", "notes")
    night.git("commit", "--quiet", "-m", "notes")
    night.git("rebase", "--quiet", "other", "master")


FROM_ELSEWHERE = {
    "no repository": (_no_repository, "not compared with git: this folder is no git repository"),
    "another repository": (_another_repository, "is not in this repository: another clone"),
    "a shallow clone": (_shallow, "is not in this repository: another clone"),
    "a partial clone": (_partial, "is here without its agent/agent.py: a partial clone"),
    "another clone": (_without_the_night, "is not in this repository: another clone"),
    "rebased": (_rebased, "was made again as"),
}


@pytest.mark.parametrize("name", FROM_ELSEWHERE)
def test_what_merely_cannot_be_seen_from_here_is_a_remark(night: Checkout, name: str) -> None:
    move, remark = FROM_ELSEWHERE[name]
    night.git("branch", "--quiet", "-M", "master")
    move(night)
    code, said, remarks = _verified(night)
    assert (code, said.splitlines()[1:]) == (0, []) and remark in remarks
    assert all(line.startswith("[report] ") for line in remarks.splitlines())


def test_a_record_that_was_killed_before_its_row_is_no_finding(night: Checkout) -> None:
    _cut(2)(night)
    (Store(night.vault).folder / "ledger.jsonl.lines").write_text("2")
    assert _verified(night)[0] == 0
    assert night.run("record.py").returncode == 0 and _verified(night)[0] == 0


def test_a_line_that_was_written_and_not_counted_when_a_kill_came_is_no_finding(night: Checkout) -> None:
    for name in ("ledger.jsonl", "holdout.jsonl"):
        counted = Store(night.vault).folder / f"{name}.lines"
        counted.write_text(str(int(counted.read_text()) - 1))
    assert _verified(night)[0] == 0


def test_a_baseline_alone_and_two_measures_give_no_finding(prepared: Checkout) -> None:
    assert _verified(prepared) == (0, "verified: 1 rows, 4 trials, 0 findings\n", "")
    with (prepared.root / "experiment_config.yaml").open("a") as config:
        config.write("seed: 7\n")
    assert prepared.run("prepare.py", "--new-experiment").returncode == 0
    assert _verified(prepared)[::2] == (0, "")


def test_a_baseline_that_was_killed_and_runs_before_any_give_no_finding(tmp_path: Path) -> None:
    checkout = Checkout.make(tmp_path)
    assert _verified(checkout) == (0, "verified: 0 rows, 0 trials, 0 findings\n", "")
    assert checkout.run("benchmark.py", "--num-tasks", "1").returncode in (0, 1)
    checkout.agent.write_text(GOOD_PROMPT)
    assert checkout.run("benchmark.py", "--num-tasks", "1").returncode in (0, 1)
    before = len(Store(checkout.vault).trial_files())
    door = subprocess.Popen(
        [sys.executable, "prepare.py"],
        cwd=checkout.root,
        env={"PATH": "/usr/bin:/bin", "AUTOHARNESS_VAULT": str(checkout.vault), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while len(Store(checkout.vault).trial_files()) < before + 6 and door.poll() is None:
        time.sleep(0.01)
    door.send_signal(signal.SIGKILL)
    assert door.wait() == -signal.SIGKILL, "it was over before"
    code, said, remarks = _verified(checkout)
    assert (code, said.splitlines()[1:]) == (0, []) and "trials and no row" in remarks
    assert checkout.run("prepare.py").returncode == 0 and _verified(checkout)[0] == 0


def test_a_ledger_that_prepare_has_mended_is_taken_as_it_is(night: Checkout) -> None:
    """What was lost is said by git alone, as long as that has it."""
    rows = (night.kept / "ledger.jsonl").read_text().splitlines()
    (night.kept / "ledger.jsonl").write_text(f"{rows[0]}\n{rows[1][:90]}\n{rows[2]}\n")
    assert _verified(night)[0] == 1
    night.git("checkout", "--quiet", "HEAD~1", "--", "agent/agent.py")
    assert night.run("prepare.py").returncode == 0
    code, said, _ = _verified(night)
    assert code == 1 and said.count("\n") == 2 and "which the ledger does not have so" in said


# --- by hand


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """In a checkout; with a baseline."""
    checkout = Checkout.make(tmp_path)
    monkeypatch.chdir(checkout.root)
    store = Store(tmp_path / "by-hand")
    ledger = Ledger(store, "m")
    ledger.append(Baseline("m", store.keep_agent(TEMPLATE.encode()), commit=Repository().head))
    return ledger


def _recorded(ledger: Ledger, source: bytes, vault: str | None = None) -> str:
    """One more version: gate, commit and record. `vault`: as the commit names it; "" where it does not."""
    store = ledger._store
    agent = store.keep_agent(source)
    gate = ledger.append(Gate("m", agent, verdict="accepted"))
    named = f", vault {store.id if vault is None else vault}" if vault != "" else ""
    commit = Repository().commit(AGENT_FILE, source, f"x\n\nledger row {gate.number}, sha256 {gate.sha256}{named}")
    ledger.append(Record("m", agent, gate=gate.number, commit=commit))
    return commit


def _said(ledger: Ledger) -> tuple[list[str], list[str]]:
    said = list(compare(ledger._store, ledger.all_rows))
    return [one for one in said if isinstance(one, str)], [one.text for one in said if isinstance(one, Remark)]


def test_an_earlier_commit_that_is_gone_beneath_a_later_one_is_found(ledger: Ledger, tmp_path: Path) -> None:
    first = _recorded(ledger, b"# 1")
    _recorded(ledger, b"# 2")
    assert _said(ledger) == ([], [])
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    tip = Repository().head
    for command in (
        ["reset", "--quiet", "--hard", f"{first}~1"],
        ["cherry-pick", tip, "--strategy-option=theirs"],
        ["reflog", "expire", "--expire=now", "--all"],
        ["gc", "--quiet", "--prune=now"],
    ):
        subprocess.run([*git, *command], check=True, capture_output=True)
    rows = list(ledger.all_rows)
    last = rows[-1]
    assert isinstance(last, Record) and not Repository().has(first)
    rows[-1] = Record(**{**vars(last), "commit": Repository().head})
    said = [one for one in compare(ledger._store, rows) if isinstance(one, str)]
    assert said == [f"commit {first[:12]} of row 2 is gone, and a later one is here: the history was rewritten"]


def test_commits_of_other_vaults_are_no_finding(ledger: Ledger) -> None:
    """A teammate's night in the same history, and one of an older version, on which this vault began."""
    source = TEMPLATE.encode()
    Repository().commit(AGENT_FILE, b"# theirs", f"x\n\nledger row 9, sha256 {'a' * 64}, vault {'b' * 16}")
    Repository().commit(AGENT_FILE, source, f"x\n\nledger row 9, sha256 {'a' * 64}")
    ledger._store.keep({"n": 1}, Outcome(Trial("1", 0, 0, ledger.all_rows[0].agent), Status.PASSED, 1.0))
    assert _said(ledger) == ([], ["2 commits name rows of other vaults"])
    _recorded(ledger, b"# 1")
    assert _said(ledger) == ([], ["2 commits name rows of other vaults"])


def test_a_merge_that_names_several_rows_has_the_file_of_one_of_them(ledger: Ledger) -> None:
    for source in (b"# 1", b"# 2"):
        _recorded(ledger, source)
    gates = ledger.gates
    lines = "\n".join(f"ledger row {gate.number}, sha256 {gate.sha256}, vault {ledger._store.id}" for gate in gates)
    Repository().commit(AGENT_FILE, b"# 3", "between")
    Repository().commit(AGENT_FILE, b"# 2", f"squashed\n\n{lines}")
    assert _said(ledger) == ([], [])


def test_iterations_without_a_ledger_are_found(ledger: Ledger) -> None:
    store = ledger._store
    Iterations(store).save(Iteration(1, "m", "agent", "", "scripted"))
    assert _said(ledger) == ([], [])
    said = [one for one in compare(store, []) if isinstance(one, str)]
    assert "ledger.jsonl: it is empty, and there are 1 iterations of the loop" in said
