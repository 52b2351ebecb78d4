"""Both packages that are tau2: every domain and task set of the one that is installed runs."""

import importlib.util
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest

from autoharness.benchmarks.tau2.adapter import Tau2
from autoharness.core.errors import SetupError, UserError
from autoharness.core.outcomes import Status, Trial
from autoharness.core.setting_sources import from_settings
from autoharness.core.settings import BANKING, RETRIEVAL, Experiment
from autoharness.engine.score_identity import Measure

HAS_BM25 = importlib.util.find_spec("rank_bm25") is not None
PLAIN = "no_knowledge"
"""The retrieval that needs no further package."""


def _banking(tau2: Tau2, retrieval: str = PLAIN) -> Tau2:
    if BANKING not in tau2.domains:
        pytest.skip("this tau2 has no banking_knowledge")
    return Tau2(Experiment(domain=BANKING, retrieval_config=retrieval))


@pytest.mark.slow
def test_every_task_set_is_a_domain_or_a_split_of_one(tau2: Tau2) -> None:
    """tau2 has two sets beside its domains; both are splits here, with the same tasks."""
    registry = tau2._registry
    beside = set(registry.get_task_sets()) - set(tau2.domains)
    assert beside == {"telecom_full", "telecom_small"}
    for name in beside:
        ids = [task.id for task in registry.get_tasks_loader(name)()]
        assert sorted(tau2.facts("telecom").splits[name.removeprefix("telecom_")]) == sorted(ids)


@pytest.mark.parametrize("domain", ["mock", "airline", "retail", "telecom", "telecom-workflow", BANKING])
def test_a_task_of_every_domain_can_be_passed(tau2: Tau2, simulator: Callable[..., Any], domain: str) -> None:
    configured = _banking(tau2) if domain == BANKING else tau2
    task_id = configured.facts(domain).splits["train"][1]
    clerk = simulator(domain=domain, agent_model="offline/faultless-clerk", retrieval_config=PLAIN)
    outcome = clerk.run(Trial(task_id, 0, 1), diagnose=True)
    assert (outcome.status, outcome.reward) == (Status.PASSED, 1.0), outcome.detail


def test_a_scenario_that_says_how_to_hang_up_does_not_make_the_customer_do_so(tau2: Tau2) -> None:
    """Nearly half of banking_knowledge's tasks have them. The offline customer begins with what the scenario says."""
    banking = _banking(tau2)
    task_ids = banking.facts(BANKING).splits["base"]
    assert any("###STOP###" in str(banking._tasks(BANKING)[task_id].user_scenario) for task_id in task_ids)
    assert not any("###" in banking.script(BANKING, task_id).request for task_id in task_ids)


def test_a_task_outside_of_base_can_be_passed(tau2: Tau2, simulator: Callable[..., Any]) -> None:
    splits = tau2.facts("telecom").splits
    task_id = next(task_id for task_id in splits["full"] if task_id not in splits["base"])
    clerk = simulator(domain="telecom", agent_model="offline/faultless-clerk")
    assert clerk.run(Trial(task_id, 0, 1), diagnose=False).status == Status.PASSED


@pytest.mark.skipif(HAS_BM25, reason="the package is installed")
def test_a_package_that_retrieval_needs_is_named(tau2: Tau2) -> None:
    with pytest.raises(SetupError, match=r"banking_knowledge needs .* not installed: pip install rank-bm25"):
        _banking(tau2, "bm25").facts(BANKING)


@pytest.mark.skipif(not HAS_BM25, reason="needs rank-bm25")
def test_the_agent_searches_the_documents(tau2: Tau2) -> None:
    tools = _banking(tau2, "bm25_grep").facts(BANKING).tools
    assert {"KB_search", "grep"} <= {tool["function"]["name"] for tool in tools}


def test_tau2_looks_for_hallucinations_in_voice_alone(tau2: Tau2) -> None:
    """Why there is no such setting: in a text conversation it would do nothing."""
    with pytest.raises(UserError, match="hallucination_retries: tau2 has it for voice alone"):
        from_settings({"hallucination_retries": 3})
    if tau2.facts("mock").flavour != "tau2-bench":
        return  # the other one has no voice
    from tau2.data_model.simulation import SimulationRun
    from tau2.evaluator.reviewer import check_hallucination

    text = SimulationRun.model_construct(ticks=None, messages=[])
    with pytest.raises(ValueError, match="only supported for full-duplex"):
        check_hallucination(text, task=None)


def test_each_retrieval_that_is_offered_is_one_of_tau2s(tau2: Tau2) -> None:
    _banking(tau2)
    from tau2.domains.banking_knowledge.retrieval import get_all_variant_names

    assert set(RETRIEVAL) <= set(get_all_variant_names())


def test_retrieval_past_gateway_and_sandbox_is_refused_in_one_line() -> None:
    with pytest.raises(UserError, match=r"retrieval_config: 'alltools' is not offered.*there is .*bm25"):
        from_settings({"domain": BANKING, "retrieval_config": "alltools"})


def test_retrieval_is_part_of_what_a_score_depends_on_where_there_is_any(tau2: Tau2) -> None:
    facts = asdict(tau2.facts("mock")) | {"layers": {}}

    def id_of(domain: str, retrieval: str) -> str:
        return Measure(Experiment(domain=domain, retrieval_config=retrieval), facts).id

    assert id_of(BANKING, "bm25") != id_of(BANKING, "full_kb")
    assert id_of("mock", "bm25") == id_of("mock", "full_kb")
