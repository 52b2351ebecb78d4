"""Prints the score card after the tests: what was tried, what was stopped, by mode."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from redteam.attacks import ATTACKS, Report
from redteam.world import World, perform, world_in

Try = Callable[[str, str], tuple[bool, Report]]
"""Runs an attack in a mode: whether it succeeded, and what the stage saw."""

MODES = ("none", "process", "sandbox")
CODING_AGENTS = ("coding agent", "confined coding agent")
"""One that writes the checkout by hand, and one that the loop runs."""
_results: list[tuple[str, str, bool]] = []
"""Mode, attack, whether it succeeded; in the process that prints."""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    root = tmp_path / "w"
    root.mkdir()
    with world_in(root) as made:
        yield made


@pytest.fixture
def try_out(world: World, record_property: Callable[[str, Any], None]) -> Try:
    def run(name: str, mode: str) -> tuple[bool, Report]:
        attack = ATTACKS[name]
        report = perform(name, mode, world, attack.patience_s, **attack.job)
        succeeded = bool(attack.judge(world, report))
        record_property("red team", (mode, name, succeeded))
        return succeeded, report

    return run


def pytest_runtest_logreport(report: Any) -> None:
    """With pytest-xdist this runs in the process that prints, too: the reports are sent there."""
    if report.when == "call":
        _results.extend(tuple(value) for name, value in report.user_properties if name == "red team")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if _results:
        terminalreporter.write_sep("=", "red team")
        terminalreporter.write_line(score_card())


def score_card() -> str:
    """For each mode how many attacks were stopped; which got through; which never can, and why."""
    lines = [f"{'mode':21}  stopped  tried"]
    for mode in (*MODES, *CODING_AGENTS):
        outcomes = [succeeded for one, _, succeeded in _results if one == mode]
        if outcomes:
            lines.append(f"{mode:21} {len(outcomes) - sum(outcomes):8} {len(outcomes):6}")
    for mode in (*MODES[1:], *CODING_AGENTS):
        through = sorted(attack for one, attack, succeeded in _results if one == mode and succeeded)
        if through:
            lines += ["", f"{len(through)} got through in {mode}:", *_wrapped(through)]
    tried = {attack for _, attack, _ in _results}
    never = [f"  {name}: {attack.never}" for name, attack in ATTACKS.items() if attack.never and name in tried]
    if never:
        lines += ["", f"{len(never)} fail unconfined too:", *never]
    return "\n".join(lines)


def _wrapped(names: list[str]) -> list[str]:
    return [f"  {', '.join(names[start : start + 5])}" for start in range(0, len(names), 5)]
