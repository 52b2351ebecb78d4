"""A server that goes away after 10 of retail's 74 train tasks, and comes back after a while, or never.

    python perf/outage.py                      it is back after 180 s
    python perf/outage.py --away 20 --patience 10       the run ends before that; then the same command again
    python perf/outage.py --says 401           instead of going away it refuses the key, or says that of --body

`benchmark.py` itself is run, in a checkout of its own, against a server that solves each task.
Printed are its lines and exit code, how often the server was asked while it failed, and whether the rewards and the
number of calls that were answered are those of a run that nothing disturbed.
"""

import argparse
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "support")]

from checkout import Checkout  # noqa: E402
from llm_server import Fault, LLMServer  # noqa: E402
from solver import Solver  # noqa: E402

from autoharness.benchmarks.tau2.adapter import Tau2  # noqa: E402

Json = dict[str, Any]


class Provider:
    """Solves retail's tasks; says `fault` while it is set."""

    def __init__(self, latency_s: float) -> None:
        self._solver = Solver(Tau2()._tasks("retail").values())
        self._latency_s = latency_s
        self.fault: Fault | None = None
        self.answered = self.failed = 0

    def __call__(self, request: Json) -> Json | Fault:
        if fault := self.fault:
            self.failed += 1
            return fault
        time.sleep(self._latency_s)
        self.answered += request["messages"][0].get("content") != "Hello."
        return self._solver.reply(request)


def run(checkout: Checkout, server: LLMServer, provider: Provider, fault: Fault | None, away_s: float) -> int:
    """`benchmark.py`, whose server fails from the tenth stored task on."""
    environment = os.environ | {
        "AUTOHARNESS_VAULT": str(checkout.vault),
        "PYTHONPATH": str(ROOT),
        "OPENAI_API_BASE": server.url,
        "OPENAI_API_KEY": "none",
    }
    command = Popen([sys.executable, "benchmark.py"], cwd=checkout.root, env=environment, stdout=PIPE, text=True)

    def break_it() -> None:
        while len(list((checkout.kept / "trials").glob("*.json"))) < 10:
            time.sleep(0.05)
        print(f"-- the server fails, for {away_s:g} s", flush=True)
        provider.fault = fault
        time.sleep(away_s)
        provider.fault = None
        print("-- the server answers again", flush=True)

    if fault:
        threading.Thread(target=break_it, daemon=True).start()
    began = time.monotonic()
    printed, _ = command.communicate()
    print("\n".join(line for line in printed.splitlines() if line.startswith(("val_score", "error"))))
    print(f"exit code {command.returncode} after {time.monotonic() - began:.0f} s; {provider.failed} calls failed")
    return command.returncode


def rewards(checkout: Checkout) -> dict[str, float | None]:
    from autoharness.vault.store import Store

    found = {}
    for record in Store(checkout.vault).runs():
        found |= {one["task"]: one["reward"] for one in record["outcomes"] if one["reward"] is not None}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--away", type=float, default=180.0, metavar="S")
    parser.add_argument("--patience", type=float, default=3600.0, metavar="S", help="max_outage_s")
    parser.add_argument("--says", type=int, default=503, metavar="STATUS")
    parser.add_argument("--body", default="")
    arguments = parser.parse_args()
    config = f"domain: retail\nagent_model: openai/x\nmax_concurrency: 4\nmax_outage_s: {arguments.patience}\n"
    provider = Provider(latency_s=0.02)
    with tempfile.TemporaryDirectory() as folder, LLMServer(provider, remember=False) as server:
        undisturbed = Checkout.make(Path(folder) / "undisturbed", config)
        run(undisturbed, server, provider, None, 0)
        needed, provider.answered = provider.answered, 0
        disturbed = Checkout.make(Path(folder) / "disturbed", config)
        code = run(disturbed, server, provider, Fault(arguments.says, arguments.body), arguments.away)
        if code:
            while provider.fault:
                time.sleep(0.1)
            print("-- the same command again")
            run(disturbed, server, provider, None, 0)
        same = rewards(undisturbed) == rewards(disturbed)
        print(f"{len(rewards(disturbed))} tasks, rewards {'identical' if same else 'DIFFER'}; answered calls:")
        print(f"{needed} undisturbed, {provider.answered} with the outage, greetings left out")


if __name__ == "__main__":
    main()
