"""Every attack in the sandbox: it fails, and others go on."""

import pytest

from redteam.attacks import ATTACKS, served
from redteam.conftest import Try

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_is_stopped(name: str, try_out: Try) -> None:
    succeeded, report = try_out(name, "sandbox")
    missing = {layer: why for layer, why in report.get("layers", {}).items() if why}
    if succeeded and ATTACKS[name].layers and missing.keys() >= set(ATTACKS[name].layers):
        pytest.skip(f"this kernel lacks what stops it: {missing}")
    assert not succeeded, report
    assert served(report), report
