"""Nothing about a held-out task lies where the coding agent or the agent under optimisation can read it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from checkout import Checkout
from conftest import ROOT, TEMPLATE
from harnesses import GOOD_PROMPT
from held_out_search import Search

from autoharness.benchmarks.tau2.adapter import Tau2

pytestmark = pytest.mark.slow


SHOUTING = """

import os, sys
turn = HarnessAgent.generate_next_message


def shout(self, message, state):
    text = str(message)
    print(text, flush=True)
    print(text, file=sys.stderr, flush=True)
    for name in ("TMPDIR", "HOME"):
        with open(os.path.join(os.environ[name], "heard.txt"), "a") as file:
            file.write(text)
    answer = turn(self, message, state)
    if {fails}:
        raise ValueError(text)
    return answer


HarnessAgent.generate_next_message = shout if {shouts} else turn
"""


@pytest.fixture
def elsewhere(tmp_path: Path) -> dict[str, Path]:
    """Where a process leaves what it writes without being told where: temporary files, home."""
    places = {"TMPDIR": tmp_path / "tmp", "HOME": tmp_path / "home"}
    for place in places.values():
        place.mkdir()
    return places


def test_nothing_held_out_is_written_where_an_agent_reads(
    tmp_path: Path, elsewhere: dict[str, Path], tau2: Tau2
) -> None:
    began, prepared = time.time(), Checkout.make(tmp_path)
    facts = tau2.facts("mock")
    places = {name: str(place) for name, place in elsewhere.items()}
    said = ""

    def run(door: str, *arguments: str) -> int:
        nonlocal said
        done = prepared.run(door, *arguments, **places)
        said += done.stdout + done.stderr
        return done.returncode

    prepared.agent.write_text(TEMPLATE + SHOUTING.format(fails="False", shouts="False"))  # no edit may bring it in
    assert run("prepare.py") == 0, said
    prepared.agent.write_text(GOOD_PROMPT + SHOUTING.format(fails="len(state.messages) > 2", shouts="True"))
    assert run("gating.py") == 1
    prepared.agent.write_text(GOOD_PROMPT + SHOUTING.format(fails="False", shouts="True"))
    kill_amid_a_gate(prepared, places)
    assert run("gating.py") == 0, said
    assert run("record.py") == 0
    assert run("benchmark.py", "--failed") == 0
    assert run("benchmark.py", "--split", "test") == 0
    assert run("gating.py", "--null") == 0
    assert run("report.py", "--compare", "baseline", "best") == 0

    search = Search(prepared.vault, facts.splits, facts.policy + json.dumps(facts.tools))
    assert len(search.conversations) >= 5
    data = [Path(folder) for folder in tau2.folders]
    open_folders = [prepared.root, *elsewhere.values()]
    assert not search.in_folders(*open_folders)
    assert not search.in_folders(*data, since=began)
    assert not search.in_text(prepared.git("log", "--patch", "--all"))
    assert not search.in_text(said)
    assert search.in_folders(prepared.vault), "what is searched for exists"

    for folder in (*open_folders, prepared.root / "workspace" / "traces", data[-1]):
        for needle in (min(search.conversations), facts.splits["test"][0]):
            assert_found(search, folder, needle, began)


def assert_found(search: Search, folder: Path, needle: str, began: float) -> None:
    """The search finds a canary there."""
    canary = folder / f"canary-{os.getpid()}.json"
    try:
        canary.write_text(json.dumps({"said": [needle]}))
        assert search.in_folders(folder, since=began) == {canary}
    finally:
        canary.unlink()


def kill_amid_a_gate(checkout: Checkout, places: dict[str, str]) -> None:
    """Kill the door and all that it started as soon as it has a new held-out trial."""
    before = len(list(checkout.kept.glob("trials/*.json")))
    ours = {"AUTOHARNESS_VAULT": str(checkout.vault), "PYTHONPATH": str(ROOT), **places}
    door = subprocess.Popen(
        [sys.executable, "gating.py"],
        cwd=checkout.root,
        env=os.environ | ours,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while len(list(checkout.kept.glob("trials/*.json"))) == before and door.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    door.send_signal(signal.SIGKILL)
    assert door.wait() == -signal.SIGKILL, "it was over before"
