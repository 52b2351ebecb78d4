"""How servers answer, and what a run makes of it: a task in each of the moods of tests/support.

    python perf/moods.py                 every mood, as a table of Markdown
    python perf/moods.py NAME [NAME ...]

Printed are the status of the simulation, its reward, how often the server was asked (4 times if all is well), and
what the run says.
"""

import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "support")]
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

from llm_server import LLMServer  # noqa: E402
from mood import Mood  # noqa: E402
from moods import MOODS  # noqa: E402
from provider import Provider  # noqa: E402

from autoharness.benchmarks.tau2.adapter import Tau2  # noqa: E402
from autoharness.core.errors import UserError  # noqa: E402
from autoharness.core.outcomes import Trial  # noqa: E402
from autoharness.core.settings import Experiment  # noqa: E402
from autoharness.engine.simulator import Simulator  # noqa: E402
from autoharness.host.pool import Hosts, confinement_of  # noqa: E402
from autoharness.host.process import AgentFile  # noqa: E402

TASK = Trial("create_task_1", 0, 626729)
TEMPLATE = (ROOT / "agent" / "templates" / "tau_bench.py").read_text()


def row(name: str, mood: Mood, folder: Path) -> str:
    provider = Provider(tau2 := Tau2())
    provider.mood = mood
    with LLMServer(provider.reply) as server:
        os.environ |= {"OPENAI_API_BASE": server.url, "OPENAI_API_KEY": "none"}
        settings = {"domain": "mock", "agent_model": "openai/solver", "llm_retries": 0, "simulation_retries": 0}
        experiment = Experiment(**settings | mood.settings)  # type: ignore[arg-type]
        agent = AgentFile(TEMPLATE, experiment.agent_model, experiment.reasoning_effort)
        hosts = Hosts({"": agent}, experiment.agent_timeout_s, confinement_of(experiment, folder, tau2.folders))
        try:
            outcome = Simulator(Tau2(experiment), experiment, hosts).run(TASK, diagnose=False)
            status, reward, says = outcome.status.value, outcome.reward, [*outcome.notes, outcome.detail]
        except UserError as error:
            status, reward, says = "the run ends", None, [str(error)]
        finally:
            hosts.close()
    words = " ".join(" ".join(says).split()).replace("|", "/")[:200]
    return f"| {name} | {mood.seen_at} | {status} | {reward} | {provider.asked} | {words} |"


def main(names: list[str]) -> None:
    print("| mood | seen at | status | reward | calls | the run says |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, mood in MOODS.items():
            if not names or name in names:
                print(row(name, mood, Path(folder)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
