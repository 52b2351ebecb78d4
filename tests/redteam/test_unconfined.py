"""Every attack without confinement: it succeeds, or there is a reason that has nothing to do with the sandbox."""

import pytest

from redteam.attacks import ATTACKS
from redteam.conftest import Try
from redteam.world import AGENTS

pytestmark = pytest.mark.slow


def test_every_attack_has_a_judge() -> None:
    assert {file.stem for file in AGENTS.glob("*.py")} == set(ATTACKS)


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_is_real(name: str, try_out: Try) -> None:
    attack = ATTACKS[name]
    succeeded, report = try_out(name, "none")
    if attack.never:
        assert not succeeded, report
    elif not succeeded and attack.needs():
        pytest.skip(attack.needs())
    else:
        assert succeeded, f"it succeeds in no mode, so it shows nothing: {report}"
