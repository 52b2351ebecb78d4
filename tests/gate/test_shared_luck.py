"""A server that keeps to seeds: the tasks of a trial are independent, unless they are asked with one seed."""

import random
from pathlib import Path
from typing import Any

import pytest
from checkout import Checkout
from llm_server import LLMServer, assistant

QUIZ = """
from benchmark import BenchmarkRunner, Result

class Quiz(BenchmarkRunner):
    policy = "Answer."

    def splits(self):
        return {"train": ["0"], "test": [str(number) for number in range(1, 25)]}

    def simulate(self, simulation):
        return Result(float(simulation.ask(f"Question {simulation.task_id}?") == "right"))
"""
CONFIG = """
benchmark: "quiz:Quiz"
agent_model: m
agent_url: {url}
agent_llm_args: {{temperature: 0.7}}
max_concurrency: 8
trials: 2
"""


def _reply(request: dict[str, Any]) -> dict[str, Any]:
    """The same words for the same seed, whatever the question: as a sampler, whose first draw decides."""
    return assistant("right" if random.Random(request["seed"]).random() < 0.5 else "wrong")


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "shared"), [("tau2", True), (None, False)], ids=["one-seed", "by-default"])
def test_null_says_whether_the_tasks_of_a_trial_share_their_luck(
    tmp_path: Path, seeds: str | None, shared: bool
) -> None:
    with LLMServer(_reply) as server:
        checkout = Checkout.make(tmp_path, CONFIG.format(url=server.url) + (f"seeds: {seeds}\n" if seeds else ""))
        (checkout.root / "quiz.py").write_text(QUIZ)
        checkout.commit()
        prepared, measured = checkout.run("prepare.py"), checkout.run("gating.py", "--null")
        checked = checkout.run("prepare.py", "--check")
    lines = dict(line.split(": ", 1) for line in measured.stdout.splitlines())
    assert ("one seed for all tasks" in prepared.stderr, "one seed for all tasks" in checked.stdout) == (
        shared,
        shared,
    )
    assert "24 tasks of a trial (4 trials)" in lines["dependence"]
    assert lines["dependence"].startswith("intraclass correlation 1.00") == shared
    assert ("tells as much as 1.0 independent tasks" in lines.get("warning", "")) == shared
