"""The demo's edits are real diffs: they apply one after another, to the template, and say what they are.

The demo itself is run by `make demo`; its parts are run by the tests of the doors.
"""

import ast
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT

EDITS = sorted((ROOT / "examples" / "edits").iterdir())


@pytest.mark.parametrize("taken_back", [("hurts",), ("hurts", "neutral")])
def test_the_edits_apply_in_order_and_leave_python(tmp_path: Path, taken_back: tuple[str, ...]) -> None:
    """As in the demo: one that the gate rejects is taken back before the next."""
    agent = tmp_path / "agent" / "agent.py"
    agent.parent.mkdir()
    shutil.copyfile(ROOT / "agent" / "templates" / "tau_bench.py", agent)
    for edit in EDITS:
        before = agent.read_text()
        subprocess.run(["git", "apply", str(edit)], cwd=tmp_path, check=True)
        ast.parse(agent.read_text())
        assert agent.read_text() != before
        if edit.read_text().startswith(taken_back):
            agent.write_text(before)


def test_two_help_one_is_neutral_and_one_hurts() -> None:
    kinds = [edit.read_text().partition(":")[0] for edit in EDITS]
    assert sorted(kinds) == ["helps", "helps", "hurts", "neutral"]


def test_the_agent_starts_as_its_template() -> None:
    assert (ROOT / "agent" / "agent.py").read_text() == (ROOT / "agent" / "templates" / "tau_bench.py").read_text()
