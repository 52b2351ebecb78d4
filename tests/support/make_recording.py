"""Makes examples/recording.json: five airline train tasks, played from their reference actions; one goes wrong.

python tests/support/make_recording.py
"""

import json
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "support")]

from llm_server import LLMServer  # noqa: E402
from solver import Solver  # noqa: E402

from autoharness.benchmarks.tau2.adapter import Tau2  # noqa: E402
from autoharness.engine.benchmark_runner import TauBenchRunner  # noqa: E402

TASKS = ["1", "10", "12", "17", "20"]  # the same in both flavours of tau2
SPOILED = {"20": 0}  # its first reference action is left out


def main() -> None:
    solver = Solver(Tau2()._tasks("airline").values(), leave_out=SPOILED)
    with LLMServer(solver.reply) as server, tempfile.TemporaryDirectory() as vault:
        os.environ |= {"OPENAI_API_BASE": server.url, "OPENAI_API_KEY": "none", "AUTOHARNESS_VAULT": vault}
        runner = TauBenchRunner("airline", "openai/solver", split="train", agent_file=ROOT / "agent/agent.py")
        with runner.open() as bench:
            run = bench.run(TASKS, "make_recording.py")
    simulations = [
        {
            "id": f"recording-{outcome.trial.task_id}",
            "task_id": outcome.trial.task_id,
            "trial": outcome.trial.number,
            "seed": outcome.trial.seed,
            "termination_reason": outcome.termination,
            "reward_info": {"reward": outcome.reward},
            "messages": outcome.messages,
        }
        for outcome in sorted(run.outcomes, key=lambda one: TASKS.index(one.trial.task_id))
    ]
    document = {"info": {"made by": "tests/support/make_recording.py"}, "tasks": [], "simulations": simulations}
    (ROOT / "examples" / "recording.json").write_text(json.dumps(document, indent=1) + "\n")
    print({one["task_id"]: one["reward_info"]["reward"] for one in simulations})


if __name__ == "__main__":
    main()
