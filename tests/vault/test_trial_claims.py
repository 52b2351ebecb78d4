"""No two commands pay for the same trial, and none rewrites what the other has kept."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from checkout import Checkout
from llm_server import LLMServer
from solver import Solver

from autoharness.benchmarks.tau2.adapter import Tau2
from autoharness.core.outcomes import Outcome, Status, Trial, digest
from autoharness.vault.store import Store
from autoharness.vault.trial_claims import Claims

NAME, OTHER = digest("one"), digest("another")


def test_what_another_process_has_is_not_ours_until_it_ends(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from autoharness.vault.trial_claims import Claims;"
        f"print(Claims(Path({str(tmp_path / 'claims')!r})).take({NAME!r}), flush=True); time.sleep(600)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert holder.stdout and holder.stdout.readline() == "True\n"
    with Claims(tmp_path / "claims") as ours:
        assert ours.take(OTHER) and not ours.take(NAME)
        holder.kill()
        holder.wait()
        assert ours.take(NAME)


def test_two_benches_of_one_process_do_not_give_back_each_others_claims(tmp_path: Path) -> None:
    with Claims(tmp_path / "claims") as one:
        one.take(NAME)
        with Claims(tmp_path / "claims") as another:
            another.take(OTHER)
        code = (
            "from pathlib import Path; from autoharness.vault.trial_claims import Claims;"
            f"claims = Claims(Path({str(tmp_path / 'claims')!r}));"
            f"print(claims.take({NAME!r}), claims.take({OTHER!r}))"
        )
        seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert seen == "False True\n"


def test_of_two_outcomes_at_once_the_first_one_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger row may rest on it already."""
    store, key = Store(tmp_path), {"task": "1"}
    first, second = (Outcome(Trial("1", 0, 1), Status.PASSED, reward) for reward in (1.0, 0.5))
    store.keep(key, first)
    found: list[Any] = [None]
    find = Store.find
    monkeypatch.setattr(
        Store, "find", lambda self, key: found.pop() if found else find(self, key)
    )  # it looked earlier
    assert store.keep(key, second).reward == 1.0
    assert len(store.trial_files()) == 1 and not list((store.folder / "trials").glob(".*"))


@pytest.mark.slow
def test_two_commands_at_once_pay_for_each_trial_once(tau2: Tau2, tmp_path: Path) -> None:
    solver = Solver(tau2._tasks("mock").values())

    def reply(request: dict[str, Any]) -> Any:
        time.sleep(0.1)
        return solver.reply(request)

    with LLMServer(reply) as server:
        whole, pair = (Checkout.make(tmp_path / name, "domain: mock\nagent_model: gpt-5.4\n") for name in "ab")
        run = {"OPENAI_API_BASE": server.url, "OPENAI_API_KEY": "the-key"}
        alone = whole.run("benchmark.py", **run)
        asked = len(server.requests)
        both = partial(pair.run, "benchmark.py", **run)
        with ThreadPoolExecutor() as pool:
            done = [one.result() for one in [pool.submit(both), pool.submit(both)]]
        assert len(server.requests) == 2 * asked
    assert [one.returncode for one in done] == [0, 0], done
    assert {one.stdout for one in done} == {alone.stdout}
