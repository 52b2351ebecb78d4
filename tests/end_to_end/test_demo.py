"""The bank of edits: each has a place in the template, in any order, and leaves Python; the demo's are in it.

The demo itself is run by `make demo`; its parts are run by the tests of the doors. What the edits are worth is
measured by `python perf/loop.py --effects`.
"""

import random
import runpy

import pytest
from conftest import ROOT, TEMPLATE

BANK = {edit.name: edit for edit in runpy.run_path(str(ROOT / "examples" / "edits.py"))["BANK"]}
PLAIN = [name for name in BANK if not name.startswith("cheat-")]
_NEEDS_TRACES = {"cheat-copy-a-conversation", "cheat-hide-a-conversation", "cheat-edit-the-suite"}


@pytest.mark.parametrize("name", sorted(BANK.keys() - _NEEDS_TRACES))
def test_an_edit_has_a_place_in_the_template_once(name: str) -> None:
    edited = BANK[name].apply(TEMPLATE)
    compile(edited, name, "exec")
    assert edited != TEMPLATE
    if not name.startswith("cheat-") and name not in ("last-four-messages", "leave-the-policy-out"):
        with pytest.raises(ValueError, match="no place for it"):
            BANK[name].apply(edited)


@pytest.mark.parametrize("seed", range(20))
def test_edits_follow_each_other_in_any_order(seed: int) -> None:
    source, applied = TEMPLATE, 0
    for name in random.Random(seed).sample(PLAIN, len(PLAIN)):
        try:
            source = BANK[name].apply(source)
        except ValueError:
            continue
        applied += 1
        compile(source, name, "exec")
    assert applied >= len(PLAIN) - 4


def test_the_demo_takes_its_edits_from_the_bank() -> None:
    demo = runpy.run_path(str(ROOT / "examples" / "demo.py"))
    assert set(demo["EDITS"]) < set(BANK)


def test_the_agent_starts_as_its_template() -> None:
    assert (ROOT / "agent" / "agent.py").read_text() == TEMPLATE
