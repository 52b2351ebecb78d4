"""Every attack, unconfined and confined: what must stop it, and that it is real."""

from collections.abc import Callable
from typing import Any

import pytest

from redteam.attacks import ATTACKS, served
from redteam.conftest import MODES
from redteam.world import AGENTS, World, perform


def test_every_attack_has_a_judge() -> None:
    assert {file.stem for file in AGENTS.glob("*.py")} == set(ATTACKS)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ATTACKS)
def test_attack(name: str, mode: str, world: World, record_property: Callable[[str, Any], None]) -> None:
    attack = ATTACKS[name]
    report = perform(name, mode, world, attack.patience_s, **attack.job)
    succeeded = bool(attack.judge(world, report))
    record_property("red team", (mode, name, succeeded))
    if mode == "sandbox":
        missing = {layer: why for layer, why in report.get("layers", {}).items() if why}
        if missing and succeeded:
            pytest.skip(f"this kernel lacks {missing}")
        assert not succeeded, report
        assert served(report), report
    elif attack.never:
        assert not succeeded, report
    elif mode == "none" and not succeeded:
        if attack.needs():
            pytest.skip(attack.needs())
        pytest.fail(f"it succeeds in no mode, so it shows nothing: {report}")
