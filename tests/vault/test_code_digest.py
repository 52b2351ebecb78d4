"""The evaluator's code is what was accepted: bytecode, planted modules, edits, and agent files that are no files."""

import hashlib
import importlib.util
import json
import marshal
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from dataclasses import asdict
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

import pytest
from checkout import Checkout
from conftest import ROOT, TEMPLATE
from harnesses import BAD, GOOD_PROMPT

from autoharness.core.errors import UserError
from autoharness.core.files import read_plain
from autoharness.core.outcomes import digest
from autoharness.vault import code_digest
from autoharness.vault.ledger import Ledger
from autoharness.vault.ledger_rows import Baseline, Evaluator
from autoharness.vault.store import LEDGER, Store

CHEAT = "print('cheated', flush=True)\nimport os\nos._exit(0)\n"
FROM_ROOT = {"PYTHONPATH": ""}


@pytest.fixture
def whole(prepared: Checkout) -> Checkout:
    """A checkout with the package in it, as a clone has; run its doors with FROM_ROOT."""
    shutil.copytree(ROOT / "autoharness", prepared.root / "autoharness", ignore=shutil.ignore_patterns("__pycache__"))
    return prepared


def _plant_bytecode(source: Path, flags: int) -> None:
    """Bytecode of other code, which says that it is the source's: by its time and size, or to be taken unchecked."""
    status = source.stat()
    head = struct.pack("<II", int(status.st_mtime), status.st_size) if flags == 0 else b"anything"
    code = marshal.dumps(compile(CHEAT, str(source), "exec"))
    target = Path(importlib.util.cache_from_source(str(source)))
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(importlib.util.MAGIC_NUMBER + struct.pack("<I", flags) + head + code)
    loaded = SourceFileLoader("planted", str(source)).get_code("planted")
    assert loaded and "cheated" in loaded.co_consts, "Python itself would have taken the source"


@pytest.mark.slow
@pytest.mark.parametrize("flags", [0, 0b01], ids=["time-and-size", "unchecked-hash"])
def test_bytecode_does_not_stand_in_for_source(whole: Checkout, flags: int) -> None:
    """In the door and in the worker; the first two are loaded before anything of ours can look."""
    for module in (
        "__init__",
        "import_finder",
        "core/__init__",
        "commands/benchmark",
        "engine/worker",
        "benchmarks/tau2/adapter",
    ):
        _plant_bytecode(whole.root / "autoharness" / f"{module}.py", flags)
    done = whole.run("benchmark.py", "--dry-run", **FROM_ROOT)
    assert done.returncode == 0, done.stderr
    assert "cheated" not in done.stdout and "splits: " in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("path", ["", "ROOT"], ids=["plain", "root-on-PYTHONPATH"])
def test_a_module_planted_in_the_root_is_neither_imported_nor_overlooked(whole: Checkout, path: str) -> None:
    planted = ("argparse.py", "importlib.py", "yaml.py", "dotenv.py", "loguru.py", "git/__init__.py")
    for name in planted:
        (whole.root / name).parent.mkdir(exist_ok=True)
        (whole.root / name).write_text(CHEAT)
    environment = {"PYTHONPATH": path.replace("ROOT", f"{whole.root}{os.pathsep}")}
    if path:
        (whole.root / "importlib.py").unlink()  # Python's own start would take it: nobody can help who asks for that
    done = whole.run("benchmark.py", "--dry-run", **environment)
    assert done.returncode == 0 and "cheated" not in done.stdout, done.stderr
    if not path:
        whole.agent.write_text(GOOD_PROMPT)
        done = whole.run("gating.py", **environment)
        assert (done.returncode, done.stdout) == (3, "")
        assert "was accepted: argparse.py (new), dotenv.py (new), git/__init__.py (new) and 3 more;" in done.stderr


@pytest.mark.slow
def test_the_package_beside_the_door_is_the_one_that_runs(whole: Checkout) -> None:
    """Door and worker take it, whatever else is installed; and it can be imported from Python as ever."""
    for name, room in (("benchmark", "commands"), ("adapter", "benchmarks/tau2")):
        with (whole.root / "autoharness" / room / f"{name}.py").open("a") as file:
            file.write(f"\nopen('{name}-was-here', 'w').close()\n")
    assert whole.run("benchmark.py", "--dry-run", PYTHONPATH=str(ROOT)).returncode == 0
    assert (whole.root / "benchmark-was-here").exists() and (whole.root / "adapter-was-here").exists()
    code = "from benchmark import TauBenchRunner; print(TauBenchRunner('mock').experiment.domain)"
    assert whole.run("-c", code, **FROM_ROOT).stdout == "mock\n"


@pytest.mark.slow
def test_an_edited_evaluator_is_refused_until_prepare_accepts_it_for_all_to_see(whole: Checkout) -> None:
    """One line, nothing run, nothing written down; then a row of its own, and a line in every headline."""
    whole.agent.write_text(GOOD_PROMPT)
    edited = whole.root / "autoharness" / "gate" / "gate.py"
    edited.write_text(edited.read_text() + "# more\n")
    (whole.root / "sitecustomize.py").write_text("")
    (whole.root / ".env").write_text("OPENAI_API_BASE=http://localhost:1\nOPENAI_API_KEY=other\n")
    trials, ledger = _trials(whole), (whole.kept / "ledger.jsonl").read_bytes()
    for door in (["gating.py"], ["gating.py", "--null"], ["record.py"]):
        done = whole.run(*door, **FROM_ROOT)
        assert (done.returncode, done.stdout) == (3, "")
        assert len(done.stderr.splitlines()) == 1 and "; look at git status and git diff" in done.stderr
        assert ".env (new), autoharness/gate/gate.py (changed), sitecustomize.py (new);" in done.stderr
    assert (_trials(whole), (whole.kept / "ledger.jsonl").read_bytes()) == (trials, ledger)

    done = whole.run("prepare.py", **FROM_ROOT)
    said = "accepted as it is now: .env (new), autoharness/gate/gate.py (changed), sitecustomize.py (new)"
    assert done.returncode == 0 and said in done.stderr
    row = _rows(whole)[-1]
    assert isinstance(row, Evaluator) and row.changed[1] == "autoharness/gate/gate.py (changed)"
    assert whole.run("prepare.py", **FROM_ROOT).returncode == 0 and len(_rows(whole)) == 2

    gate = whole.run("gating.py", **FROM_ROOT)
    compared = whole.run("report.py", "--compare", "0", "0", **FROM_ROOT)
    line = "evaluator: changed since the baseline, 1 times; prepare.py accepted it"
    assert line in gate.stdout.splitlines() and line in compared.stdout.splitlines()
    assert whole.run("report.py", "--verify", **FROM_ROOT).returncode == 0
    (Store(whole.vault).folder / "evaluators" / f"{row.evaluator}.json").write_text("{}")
    verified = whole.run("report.py", "--verify", **FROM_ROOT)
    assert verified.returncode == 1 and "is missing or damaged" in verified.stdout


def _rows(checkout: Checkout) -> list[Any]:
    return Ledger(Store(checkout.vault)).rows


def _trials(checkout: Checkout) -> list[str]:
    return sorted(path.name for path in (checkout.kept / "trials").iterdir())


@pytest.mark.slow
def test_settings_that_no_score_depends_on_may_change_and_others_are_refused(prepared: Checkout) -> None:
    settings = prepared.root / "experiment_config.yaml"
    settings.write_text(settings.read_text() + "llm_retries: 1\nmax_steps: 100\n")
    prepared.agent.write_text(GOOD_PROMPT)
    done = prepared.run("gating.py")
    assert done.returncode == 3 and "as it is configured now: " in done.stderr and "prepare.py" in done.stderr
    settings.write_text(settings.read_text().replace("max_steps: 100\n", "").replace("y: 1", "y: 4"))
    assert prepared.run("gating.py").returncode == 0


@pytest.mark.slow
def test_swapping_the_agent_file_while_the_gate_runs_changes_nothing(prepared: Checkout, tmp_path: Path) -> None:
    """The verdict is on the file that was there as the gate began; record commits that one or none."""
    prepared.agent.write_text(GOOD_PROMPT)
    sha256 = hashlib.sha256(GOOD_PROMPT.encode()).hexdigest()
    expected = prepared.copy(tmp_path / "other").run("gating.py")
    gate = _begin_gate(prepared, str(ROOT))
    while not Store(prepared.vault).agent_file(sha256).exists() and gate.poll() is None:
        time.sleep(0.01)
    prepared.agent.write_text(BAD["leaves the policy out"])
    assert gate.communicate()[0] == expected.stdout and "verdict: accepted" in expected.stdout
    assert _rows(prepared)[-1].agent == sha256
    done = prepared.run("record.py")
    assert done.returncode == 3 and "is not what was gated last" in done.stderr
    assert prepared.git("rev-list", "--count", "HEAD") == "1\n"
    prepared.agent.write_text(GOOD_PROMPT)
    assert prepared.run("record.py").returncode == 0
    assert prepared.git("show", "HEAD:agent/agent.py") == GOOD_PROMPT


@pytest.mark.slow
def test_an_evaluator_that_is_edited_while_the_gate_runs_gives_no_verdict(whole: Checkout) -> None:
    """Nor does it leave trials for the next one: a worker that is started later is another one."""
    whole.agent.write_text(GOOD_PROMPT)
    before = len(_trials(whole))
    gate = _begin_gate(whole, "")
    while len(_trials(whole)) == before and gate.poll() is None:
        time.sleep(0.01)
    worker = whole.root / "autoharness" / "engine" / "simulator.py"
    honest, asked = worker.read_text(), 'float(reward_info["reward"])'
    assert asked in honest
    worker.write_text(honest.replace(asked, "0.0"))
    for child in Path(f"/proc/{gate.pid}/task/{gate.pid}/children").read_text().split():
        os.kill(int(child), signal.SIGKILL)  # its place is taken by one of the other kind
    assert (gate.communicate()[0], gate.returncode) == ("", 3)
    assert len(_rows(whole)) == 1
    worker.write_text(honest)
    assert whole.run("gating.py", **FROM_ROOT).returncode == 0


def _begin_gate(checkout: Checkout, python_path: str) -> "subprocess.Popen[str]":
    ours = {"AUTOHARNESS_VAULT": str(checkout.vault), "PYTHONPATH": python_path, "PATH": os.defpath}
    command = [sys.executable, "gating.py"]
    return subprocess.Popen(command, cwd=checkout.root, env=os.environ | ours, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("kind", ["symlink", "hard link", "pipe", "device", "folder", "large"])
def test_an_agent_file_is_a_plain_file_of_its_own(tmp_path: Path, kind: str) -> None:
    """A pipe does not keep anybody waiting."""
    path, other = tmp_path / "agent.py", tmp_path / "other.py"
    other.write_text(TEMPLATE)
    make = {
        "symlink": lambda: path.symlink_to(other),
        "hard link": lambda: path.hardlink_to(other),
        "pipe": lambda: os.mkfifo(path),
        "device": lambda: path.symlink_to("/dev/zero"),
        "folder": lambda: path.mkdir(),
        "large": lambda: path.write_text("#" * 1_000_001),
    }
    make[kind]()
    with pytest.raises(UserError, match="put a plain file of its own there"):
        read_plain(path)
    path.rmdir() if kind == "folder" else path.unlink()
    path.write_text(TEMPLATE)
    assert read_plain(path) == TEMPLATE.encode()


@pytest.mark.slow
@pytest.mark.parametrize("door", ["benchmark.py", "record.py", "prepare.py"])
def test_no_door_waits_for_a_pipe_in_the_agents_place(prepared: Checkout, door: str) -> None:
    prepared.agent.unlink()
    os.mkfifo(prepared.agent)
    done = prepared.run(door, *(["--check"] if door == "prepare.py" else []))
    assert done.returncode == 3 and "a pipe, a device or over 1 MB" in done.stdout + done.stderr


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout and a tau2 of a few files each."""
    root, tau2 = tmp_path / "root", tmp_path / "elsewhere" / "tau2"
    for path in (root / "gating.py", root / "tests" / "test.py", tau2 / "__init__.py", tau2 / "inner" / "judge.py"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x = 1\n")
    monkeypatch.chdir(root)
    monkeypatch.syspath_prepend(str(tau2.parent))
    monkeypatch.delitem(sys.modules, "tau2", raising=False)
    return root


@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("gating.py", "gating.py (changed)"),
        ("more.py", "more.py (new)"),
        ("more.cpython-311-x86_64-linux-gnu.so", "more.cpython-311-x86_64-linux-gnu.so (new)"),
        ("yaml/__init__.pyc", "yaml/__init__.pyc (new)"),
        ("agent/templates/tau_bench.py", "agent/templates/tau_bench.py (new)"),
        (".env", ".env (new)"),
        ("../elsewhere/tau2/inner/judge.py", "tau2 (changed)"),
        ("../elsewhere/tau2/inner/more.py", "tau2 (changed)"),
        ("tests/test.py", ""),
        ("agent/agent.py", ""),
        ("workspace/notes.py", ""),
    ],
)
def test_the_manifest_sees_what_could_decide(small: Path, tmp_path: Path, path: str, seen: str) -> None:
    store = Store(tmp_path / "vault")
    before = code_digest.keep(store)
    assert code_digest.check(store, before) == before
    (small / path).parent.mkdir(parents=True, exist_ok=True)
    (small / path).write_text("OPENAI_API_BASE=http://localhost")
    assert code_digest.changes(store, before, code_digest.keep(store)) == ([seen] if seen else [])
    if seen:
        with pytest.raises(UserError, match="the code is not what was accepted"):
            code_digest.check(store, before)


def test_a_key_is_no_part_of_the_manifest(small: Path) -> None:
    before = code_digest.manifest()
    (small / ".env").write_text("OPENAI_API_KEY=one\nAWS_SESSION_TOKEN=two\nEMPTY=\n")
    assert code_digest.manifest() == before


def test_a_planted_pipe_keeps_nobody_waiting(small: Path) -> None:
    os.mkfifo(small / "more.py")
    assert code_digest.manifest()["more.py"] == "no regular file"


def test_a_ledger_from_before_still_reads_and_has_its_evaluator_accepted_once(tmp_path: Path, small: Path) -> None:
    store = Store(tmp_path / "vault")
    row = Ledger(store, "m").append(Baseline("m", "a", "words"))
    line = {"kind": "Baseline", "previous": "0" * 64, **asdict(row)}
    del line["sha256"], line["evaluator"]
    (store.folder / LEDGER).write_text(json.dumps(line | {"sha256": digest(line)}) + "\n")
    ledger = Ledger(store)
    assert (ledger.evaluator, ledger.evaluator_lines, len(ledger.versions)) == ("", [], 1)
    with pytest.raises(UserError, match="it was not recorded before"):
        code_digest.check(store, ledger.evaluator)
    now = code_digest.keep(store)
    ledger.append(Evaluator("m", "a", evaluator=now, changed=code_digest.changes(store, "", now)))
    assert code_digest.check(store, Ledger(store).evaluator) == now
