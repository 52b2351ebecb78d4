"""Each task, trial and role is asked with a seed of its own, and the same trial has the same ones again."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llm_server import LLMServer
from solver import Solver

from autoharness.benchmarks.tau2.adapter import Tau2
from autoharness.core.outcomes import Trial
from autoharness.core.settings import Experiment
from autoharness.engine.benchmark_runner import BenchmarkRunner
from autoharness.engine.score_identity import Measure
from autoharness.engine.simulator import Simulator
from autoharness.llm.seeds import Seeded, role_seed
from autoharness.vault.store import Store

ROLES = ("agent", "user", "judge")
FACTS: dict[str, Any] = {
    "splits": {"train": ["0"], "test": ["1"]},
    "flavour": "f",
    "version": "1",
    "data_checksum": "c",
    "layers": {},
}
MakeSimulator = Callable[..., Simulator]


@pytest.fixture
def servers(tau2: Tau2) -> Iterator[list[LLMServer]]:
    solver = Solver(tau2._tasks("mock").values())
    with LLMServer(solver.reply) as agent, LLMServer(solver.reply) as user:
        yield [agent, user]


def test_a_seed_is_what_it_was() -> None:
    """A change of these makes strangers of the trials that are in a vault."""
    assert [role_seed(300, "0", 0, role) for role in ROLES] == [1334734245, 769459736, 594735168]


def test_roots_tasks_trials_and_roles_all_make_a_difference() -> None:
    paths = list(itertools.product((300, 301), ("0", "1", "01"), (0, 1, 10), ROLES))
    assert len({role_seed(*path) for path in paths}) == len(paths)


@given(st.integers(), st.text(), st.integers(0), st.sampled_from(ROLES))
def test_a_seed_has_31_bits(root: int, task_id: str, trial: int, role: str) -> None:
    assert 0 <= role_seed(root, task_id, trial, role) < 2**31


@pytest.mark.parametrize(
    ("always", "asked", "sent"),
    [(True, {"seed": 7}, 9), (True, {}, 9), (True, {"seed": 8}, 8), (False, {"seed": 7}, 9), (False, {}, None)],
    ids=["users", "judges", "chosen-in-the-arguments", "agents", "left-out-by-the-agent"],
)
def test_takes_the_place_of_the_trials_seed_and_of_no_other(
    always: bool, asked: dict[str, Any], sent: int | None
) -> None:
    given_to: list[dict[str, Any]] = []
    Seeded(lambda request: given_to.append(request) or {}, 7, 9, always)({"messages": [], **asked})
    assert given_to[0].get("seed") == sent


def _seeds(servers: list[LLMServer], simulator: MakeSimulator, trial: Trial, **settings: Any) -> list[set[int]]:
    """What each server was asked with in this trial."""
    before = [len(server.requests) for server in servers]
    urls = {"agent_url": servers[0].url, "user_url": servers[1].url}
    simulator(agent_model="m", **urls, **settings).run(trial, False)
    return [
        {one.body["seed"] for one in server.requests[start:]} for server, start in zip(servers, before, strict=True)
    ]


@pytest.mark.parametrize(("seeds", "root"), [("per_task", 626729), ("per_role", 300)])
def test_the_requests_carry_them(servers: list[LLMServer], simulator: MakeSimulator, seeds: str, root: int) -> None:
    own: dict[str, Any] = {"seeds": seeds}
    first = Trial("create_task_1", 0, 626729)
    seen = _seeds(servers, simulator, first, **own)
    assert seen == [{role_seed(root, "create_task_1", 0, role)} for role in ("agent", "user")]
    assert _seeds(servers, simulator, first, **own) == seen
    others = [
        _seeds(servers, simulator, Trial("create_task_1", 1, 626729), **own),
        _seeds(servers, simulator, Trial("update_task_1", 0, 626729), **own),
        _seeds(servers, simulator, Trial("create_task_1", 0, 7), seed=301, **own),
    ]
    found = [seed for seeds in [seen, *others] for of_role in seeds for seed in of_role]
    assert len(found) == len(set(found)) == 8


def test_with_tau2s_both_are_asked_with_the_trials(servers: list[LLMServer], simulator: MakeSimulator) -> None:
    assert _seeds(servers, simulator, Trial("create_task_1", 0, 626729), seeds="tau2") == [{626729}, {626729}]


def test_they_are_another_measure() -> None:
    assert len({Measure(Experiment(seeds=seeds), FACTS).id for seeds in ("tau2", "per_role", "per_task")}) == 3


@pytest.mark.parametrize(
    ("marker", "default"),
    [(None, "per_task"), ("secret", "tau2"), ("public", "tau2"), ("per_task", "per_task")],
    ids=["new", "earlier", "first", "of today"],
)
def test_a_vault_of_an_earlier_version_keeps_its_default(tmp_path: Path, marker: str | None, default: str) -> None:
    store = Store(tmp_path / "vault")
    if marker:
        (store.folder / "trial-seeds").write_text(f"{marker}\n")
    of_vault = [BenchmarkRunner.of(Experiment(**settings)) for settings in ({}, {"seeds": "per_role"})]
    for runner in of_vault:
        runner._given_store = store
    assert [runner.experiment.seeds for runner in of_vault] == [default, "per_role"]
    assert bool(store.trial_seeds()) == (marker != "public")


@pytest.mark.parametrize(
    ("settings", "warned"),
    [
        ({"agent_llm_args": {"temperature": 0.7}}, True),
        ({"agent_llm_args": {}}, True),
        ({"user_llm_args": {"temperature": 1.0}}, True),
        ({}, False),
        ({"agent_llm_args": {}, "seeds": "per_task"}, False),
        ({"agent_llm_args": {}, "agent_model": "offline/clerk"}, False),
    ],
)
def test_one_seed_for_all_tasks_is_named_where_the_temperature_is_not_0(
    settings: dict[str, Any], warned: bool
) -> None:
    said = Measure(Experiment(**{"agent_model": "m", "seeds": "tau2"} | settings), FACTS).shared_seeds
    assert ("with seeds: per_task" in said) == warned
