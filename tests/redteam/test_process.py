"""Every attack in the mode "process", for the score card: nothing is promised there."""

import os

import pytest

from redteam.attacks import ATTACKS
from redteam.conftest import Try

pytestmark = pytest.mark.slow


@pytest.mark.skipif("RED_TEAM_PROCESS" not in os.environ, reason="only python tests/redteam/score_card.py needs it")
@pytest.mark.parametrize("name", ATTACKS)
def test_attack_is_recorded(name: str, try_out: Try) -> None:
    succeeded, report = try_out(name, "process")
    assert not (succeeded and ATTACKS[name].never), report
