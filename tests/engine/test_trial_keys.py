"""Keys and ids follow from what each setting says it affects, and stay those that vaults have."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from conftest import ROOT
from vault_keys import FACTS, IN_FORCE, KNOWN, LAYERS, PRICES, VARIANTS

from autoharness.core.errors import UserError
from autoharness.core.outcomes import Outcome, Status, Trial, digest
from autoharness.core.setting_sources import from_settings
from autoharness.core.settings import (
    BANKING,
    BY_TAU2,
    GATE,
    NOTHING,
    OUTCOME,
    RATCHET,
    REQUIRED,
    SETTINGS,
    Affects,
    Experiment,
    Setting,
    setting,
)
from autoharness.engine import score_identity, trial_keys
from autoharness.engine.score_identity import FIRST_OF_GATE, Measure
from autoharness.host import sandbox
from autoharness.vault.store import Store


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trial_keys, "BEHAVIOUR", "f")
    Path("recording.json").write_text("[]")


def _measure(
    layers: dict[str, str] = IN_FORCE, left_out: trial_keys.LeftOut | None = None, **settings: Any
) -> Measure:
    experiment = Experiment(**{"agent_model": "m"} | settings)
    return Measure(experiment, FACTS | {"layers": layers}, seeds="secret", left_out=left_out)


def _identity(one: Measure) -> tuple[str, str]:
    return one.id, digest([one.key(one.trial("10", number, "a")) for number in (0, 1, FIRST_OF_GATE)])


@pytest.mark.parametrize("variant", KNOWN)
def test_ids_and_keys_are_those_of_existing_vaults(variant: str) -> None:
    lacks, settings = (
        LAYERS.get(variant, {}),
        VARIANTS.get(variant, {"agent_base_url": "tcp" in LAYERS.get(variant, {})}),
    )
    assert _identity(_measure(IN_FORCE | lacks, **settings)) == KNOWN[variant]


def test_what_is_printed_is_part_of_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is the order in which a host puts its layers in force."""
    lacks, settings = dict.fromkeys(("tcp", "files"), "left out"), {"agent_base_url": True}
    before = _measure(lacks, **settings)
    monkeypatch.setattr(score_identity, "_isolation_words", lambda *_: "a sandbox with two holes")
    monkeypatch.setattr(sandbox, "NOT_ENFORCED", dict.fromkeys(sandbox.NOT_ENFORCED, "anything may happen"))
    after = _measure(dict(reversed(lacks.items())), **settings)
    assert before.words.endswith("isolation sandbox without tcp, files, with a base URL")
    assert after.words.endswith("isolation a sandbox with two holes") and before.isolation != after.isolation
    assert _identity(before) == _identity(after)


def test_each_layer_has_its_place_in_keys() -> None:
    assert set(trial_keys._LAYERS) == set(sandbox.NOT_ENFORCED)


# -- what each setting says of itself

TEMPLATE = ROOT / "experiment_config.yaml.template"
TYPES = get_type_hints(Experiment)
each = pytest.mark.parametrize("name", [one.name for one in fields(Experiment)])
UNBOUNDED = {"seed"}
"""Numbers of which each is as good as another."""
TEXTS = {
    "benchmark": "sums:Sums",
    "gate_split": "train:0.4",
    "agent_url": "http://h:1/v1",
    "user_url": "http://h:2/v1",
    "judge_url": "http://h:3/v1",
    "user": "users:Impatient",
}
DICTS = {"prices": PRICES}
ALSO: dict[str, dict[str, Any]] = {
    "prices": {"max_simulation_cost_usd": 1.0},
    "threshold": {"gate": RATCHET},
    "retrieval_config": {"domain": BANKING},
}
"""What must be set for a setting to affect anything."""
SAME = {"isolation": REQUIRED, "seeds": BY_TAU2}
"""Values by another name: no other outcome comes of them."""


def _others(name: str) -> Iterator[Any]:
    """Values that are not the default."""
    says, hint, default = SETTINGS[name], str(TYPES[name]), getattr(Experiment(), name)
    if says.choices:
        yield from (choice for choice in says.choices if choice not in (default, SAME.get(name)))
    elif default is True or default is False:
        yield not default
    elif "dict" in hint:
        yield DICTS.get(name, {"temperature": 0.7})
    elif "list" in hint:
        yield ["word"]
    elif "int" in hint or "float" in hint:
        near = [default / 2, default + 1] if default else []
        yield from {says.least, *near, 30} - {default, 0}
    else:
        yield TEXTS.get(name, "another")


def _changed(name: str) -> list[tuple[bool, bool]]:
    """For each other value, whether the id is another one, and whether keys are."""
    also = ALSO.get(name, {})
    now = _identity(_measure(**also))
    others = [_identity(_measure(**also | {name: value})) for value in _others(name)]
    assert others
    return [(one[0] != now[0], one[1] != now[1]) for one in others]


@each
def test_a_setting_says_what_it_affects_and_what_it_takes(name: str) -> None:
    says, default, hint = SETTINGS[name], getattr(Experiment(), name), str(TYPES[name])
    assert isinstance(says, Setting) and says.affects in (OUTCOME, GATE, NOTHING)
    assert default is None or not says.choices or default in says.choices
    is_number = ("int" in hint or "float" in hint) and "dict" not in hint
    has_range = (says.least, says.most) != (Setting(NOTHING).least, Setting(NOTHING).most)
    assert has_range == (is_number and name not in UNBOUNDED)
    assert default is None or not is_number or says.least <= default <= says.most
    assert not (says.stored and says.affects is NOTHING)
    assert says.counts_with in {"", *SETTINGS}


@each
def test_a_setting_stands_in_the_template(name: str) -> None:
    assert re.search(rf"\b{name}:", TEMPLATE.read_text())


@each
def test_a_setting_affects_what_it_says(name: str) -> None:
    expected = {OUTCOME: (True, True), GATE: (True, False), NOTHING: (False, False)}[SETTINGS[name].affects]
    assert set(_changed(name)) == {expected}


@each
def test_a_setting_takes_what_it_says(name: str) -> None:
    says, hint = SETTINGS[name], str(TYPES[name])
    if says.choices:
        assert all(getattr(from_settings({name: one}), name) == one for one in says.choices)
        with pytest.raises(UserError, match=f"^{name}: 'none of these' is"):
            from_settings({name: "none of these"})
    if says.least > Setting(NOTHING).least:
        least, below = (int if "int" in hint else float)(says.least), says.least - 1
        assert getattr(from_settings({name: least}), name) == least
        with pytest.raises(UserError, match=f"^{name} must be at least {says.least:g}, not"):
            from_settings({name: int(below) if "int" in hint else below})
    if says.most < Setting(NOTHING).most:
        with pytest.raises(UserError, match=f"^{name} must be at most {says.most:g}, not"):
            from_settings({name: int(says.most) + 1})


def test_a_setting_that_does_not_say_what_it_affects_is_no_setting() -> None:
    with pytest.raises(TypeError, match="affects"):
        setting(3)  # type: ignore[call-arg]


@pytest.mark.parametrize("affects", Affects)
def test_a_new_setting_is_in_keys_where_it_is_not_at_its_default(
    affects: Affects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a line anywhere else."""

    @dataclass(frozen=True)
    class Later(Experiment):
        warmth: int = setting(3, affects=affects, least=0)

    monkeypatch.setattr(trial_keys, "Experiment", Later)
    monkeypatch.setattr(trial_keys, "SETTINGS", SETTINGS | {"warmth": Setting(affects, least=0)})
    made = [_identity(Measure(Later(agent_model="m", warmth=warmth), FACTS, seeds="secret")) for warmth in (3, 4)]
    assert made[0] == KNOWN["defaults"]
    assert (made[0][0] != made[1][0], made[0][1] != made[1][1]) == (affects is not NOTHING, affects is OUTCOME)


def test_prices_count_where_they_end_conversations() -> None:
    dearer = {"m": {"input": 1.0, "output": 20.0}}
    assert len({_identity(_measure(prices=one)) for one in ({}, PRICES, dearer)}) == 1
    assert len({_identity(_measure(prices=one, max_simulation_cost_usd=1.0)) for one in ({}, PRICES, dearer)}) == 3


def test_what_changed_is_named_where_it_counts() -> None:
    """As far as an older version's settings go: it did not have those that came later."""
    then = Experiment(agent_model="m", max_steps=100, max_hours=1.0).to_json()
    del then["replay_tolerance"]
    assert trial_keys.changed(Experiment(agent_model="m"), then) == ["max_steps"]
    assert trial_keys.changed(Experiment(agent_model="m", max_steps=100, replay_tolerance=True), then) == [
        "replay_tolerance"
    ]


# -- vaults whose keys left a setting out

OLD: dict[str, Any] = {
    "agent_model": "m",
    "max_simulation_cost_usd": 1.0,
    "prices": {"m": {"input": 1.0, "output": 20.0}},
    "llm_timeout_s": 40.0,
}
TRIAL = Trial("10", 0, 1, "a")


def _with_trial(vault: Path) -> Store:
    store = Store(vault)
    store.keep({"task": "10"}, Outcome(TRIAL, Status.PASSED, 1.0))
    return store


def _with_run(store: Store, settings: dict[str, Any]) -> Store:
    run = {"experiment": Experiment(**settings).to_json(), "outcomes": []}
    (store.new_run() / "run-001.json").write_text(json.dumps(run))
    return store


def test_a_vault_from_before_goes_on_with_the_keys_that_it_has(tmp_path: Path) -> None:
    """And what is set to another value from now on is in them."""
    store, now = _with_run(_with_trial(tmp_path), OLD), Experiment(agent_model="m")
    known = trial_keys.left_out(store, now)
    as_they_were = _identity(_measure(max_simulation_cost_usd=1.0))
    assert _identity(_measure(left_out=known, **OLD)) == as_they_were
    assert _identity(_measure(left_out=known, **OLD | {"prices": {}, "llm_timeout_s": 300.0})) == as_they_were
    assert _identity(_measure(left_out=known, **OLD | {"prices": PRICES})) != as_they_were
    assert _identity(_measure(left_out=known, **OLD | {"llm_timeout_s": 50.0})) != as_they_were


def test_a_vault_from_before_whose_runs_were_all_killed_has_the_settings_of_now(tmp_path: Path) -> None:
    known = trial_keys.left_out(_with_trial(tmp_path), Experiment(**OLD))
    assert _identity(_measure(left_out=known, **OLD)) == _identity(_measure(max_simulation_cost_usd=1.0))


def test_a_trial_that_was_begun_before_goes_on_under_its_key(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (store.folder / "unfinished").mkdir()
    store.unfinished({"task": "10"}).write_text("{}\n")
    assert trial_keys.left_out(store, Experiment(**OLD))["llm_timeout_s"] == [40.0]


def test_what_a_vault_left_out_is_settled_once(tmp_path: Path) -> None:
    """Otherwise trials that were run since, under keys that name it, would be taken for those of before."""
    store = Store(tmp_path)
    assert set(trial_keys.left_out(store, Experiment(**OLD))) == {"prices", "llm_timeout_s"}
    _with_run(_with_trial(tmp_path), OLD)
    known = trial_keys.left_out(Store(tmp_path), Experiment(**OLD))
    assert not any(known.values())
    assert _identity(_measure(left_out=known, **OLD)) != _identity(_measure(max_simulation_cost_usd=1.0))
