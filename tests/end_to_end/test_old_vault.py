"""A vault that an older version wrote is somebody's paid night: it is read, verified, reported and gone on with."""

import io
import json
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from conftest import ROOT
from harnesses import BAD, GOOD_PROMPT, TEMPLATE
from redteam.nights import Checkout, Tree

pytestmark = pytest.mark.slow


OLDEST = "9a969fe"
LEFT_OUT = "max_simulation_cost_usd: 5\nllm_timeout_s: 40\nprices: {offline/clerk: {input: 1.0, output: 2.0}}\n"
"""The last two were in no key then, although they affect the outcome."""
CONFIG = "domain: mock\nagent_model: offline/clerk\nmax_concurrency: 2\nmax_trials: 3\nconfirm_trials: 2\n" + LEFT_OUT


@pytest.fixture(scope="module")
def old_night(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """Its own code runs it: a baseline, a version that is kept, its headline, a candidate that is rejected."""
    archive = subprocess.run(["git", "archive", OLDEST], cwd=ROOT, capture_output=True)
    if archive.returncode:
        pytest.skip(f"this clone has no commit {OLDEST}")
    tree = tmp_path_factory.mktemp("old")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(tree, filter="data")
    night = Checkout.make(Tree(tree), tmp_path_factory.mktemp("night"), CONFIG, TEMPLATE)
    (night.vault / "secret").write_text("the order in which the gate takes tasks is the same in every test")
    assert night.run("prepare.py").code == 0
    night.agent.write_text(GOOD_PROMPT)
    assert night.run("gating.py").code == 0
    assert night.run("record.py").code == night.run("report.py", "--confirm").code == 0
    night.agent.write_text(BAD["hands over when in doubt"])
    assert night.run("gating.py").code == 1
    return night


def _trials(vault: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in vault.rglob("trials/*.json")}


def test_a_vault_of_9a969fe_is_read_verified_reported_and_gone_on_with(old_night: Checkout, tmp_path: Path) -> None:
    """Once a person has accepted that the code is another one. Not a trial is paid for twice."""
    old = _trials(old_night.vault)
    night = old_night.copy(tmp_path)
    night.tree = Tree(ROOT)
    for door in ROOT.glob("*.py"):
        shutil.copyfile(door, night.root / door.name)
    assert re.fullmatch(r"verified: 5 rows, \d+ trials, 0 findings\n", night.run("report.py", "--verify").out)
    assert night.run("report.py", "--compare", "baseline", "best").code == night.run("report.py").code == 0
    refused = night.run("gating.py")
    assert refused.code == 3 and "prepare.py" in refused.err, "the evaluator changed, and nobody has said so"
    assert night.run("prepare.py").out.startswith("baseline: 0.5000  (2/4 passed")
    again = night.run("gating.py")
    assert again.code == 1 and "0 were run for it" in again.out
    night.agent.write_text(BAD["shows the LLM the last four messages"])
    new = night.run("gating.py")
    assert new.code in (0, 1) and "verdict" in new.out and "evaluator: changed since the baseline" in new.out
    assert night.run("report.py", "--verify").out.endswith("0 findings\n")
    kept = _trials(night.vault)
    assert {name: kept[name] for name in old} == old and len(kept) > len(old)
    assert sorted(path.name for path in night.vault.iterdir() if not path.name.startswith("inner-")) == ["hosts"]
    rows = [json.loads(line) for line in next(night.vault.glob("inner-*/ledger.jsonl")).read_text().splitlines()]
    assert [row["kind"] for row in rows[:5]] == ["Baseline", "Gate", "Record", "Confirmation", "Gate"]
    assert [row.get("rules", 0) for row in rows if row["kind"] == "Gate"] == [0, 0, 1, 1]
