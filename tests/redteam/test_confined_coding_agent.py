"""What a coding agent may try that the loop runs: it succeeds without confinement, and fails with it."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from autoharness.core.settings import Experiment
from autoharness.host import landlock
from autoharness.loop import coding_agent
from autoharness.loop.coding_agent import Coder
from autoharness.loop.coding_agents.choice import chosen
from autoharness.loop.worktree import Worktree
from redteam.coder_attacks import CODER_ATTACKS, ON_FILES, ON_PROCESSES, state_of
from redteam.world import World

pytestmark = pytest.mark.slow


CODERS = Path(__file__).with_name("coders")
AGENTS = Path(__file__).with_name("agents")
"""Some of its attacks are the agent file's own."""
MODE = "confined coding agent"
OLDER = {"Landlock 1 (Ubuntu 22.04)": 1, "Landlock 2 (Debian 12)": 2, "Landlock 3": 3}
TAIL = """

if __name__ == "__main__":
    import json as _json
    import sys as _sys

    try:
        print(attack(_json.loads(_sys.argv[1])), flush=True)
    except Exception as _error:
        print("stopped:", type(_error).__name__, _error)
"""
ORDINARY_USER = """
import json, os, sys, time
sys.path[:0] = [{root!r}, {root!r} + "/tests", {root!r} + "/tests/support"]
from autoharness.host import landlock
from autoharness.loop import coding_agent_child
from redteam.coder_attacks import ON_PROCESSES, state_of
name, confined = sys.argv[1], sys.argv[2] == "confined"
code = compile(open({coders!r} + "/" + name + ".py").read(), name, "exec")
if os.geteuid() == 0:
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
loop = os.fork()
if not loop:
    os.setsid(), time.sleep(60)
time.sleep(0.2)
before = state_of(loop)
attacker = os.fork()
if not attacker:
    if confined:
        everything = [("/", landlock.OWN)]
        version = landlock.abi()
        coding_agent_child._confine(dict(rules=everything, ports=[], network=True, landlock_abi=version))
    names = dict(__name__="attack")
    exec(code, names)
    try:
        names["attack"](dict(loop=loop))
    except OSError as error:
        print(error, file=sys.stderr)
    os._exit(0)
os.waitpid(attacker, 0)
print("changed" if state_of(loop) != before else "as it was", flush=True)
os.kill(loop, 9)
"""

needs_landlock = pytest.mark.skipif(not landlock.abi(), reason="the kernel has no Landlock")
each = pytest.mark.parametrize("name", CODER_ATTACKS)


@pytest.fixture
def target(world: World) -> Iterator[World]:
    """The world, with a process of this account in it that stands for the loop."""
    loop = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    world.told["loop"] = loop.pid
    world.before["loop"] = state_of(loop.pid)
    yield world
    loop.kill()
    loop.wait()


@pytest.fixture
def confined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, dict[str, Any]], str]:
    monkeypatch.setattr(coding_agent, "settle", lambda *folders: [])  # it takes a second, and has tests of its own

    def run(name: str, told: dict[str, Any]) -> str:
        worktree = Worktree(tmp_path / "session")
        for folder in (worktree.root / "agent", worktree.root / "workspace", worktree.scratch):
            folder.mkdir(parents=True)
        command = [sys.executable, str(_program(name, worktree.scratch)), json.dumps(told)]
        experiment = Experiment(coding_agent_command=command)
        transcript = worktree.folder / "transcript.txt"
        Coder(chosen(experiment), experiment).edit(worktree, transcript, 1)
        return transcript.read_text()

    return run


def _program(name: str, folder: Path) -> Path:
    program = folder / f"{name}.py"
    source = next(file for file in (CODERS / f"{name}.py", AGENTS / f"{name}.py") if file.exists())
    program.write_text(source.read_text() + TAIL)
    return program


def test_every_attack_has_a_judge() -> None:
    assert {file.stem for file in CODERS.glob("*.py")} <= set(CODER_ATTACKS)


@each
def test_attack_is_real(name: str, target: World, tmp_path: Path) -> None:
    command = [sys.executable, str(_program(name, tmp_path)), json.dumps(target.told)]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout
    attack = CODER_ATTACKS[name]
    if not attack.judge(target, printed):
        assert attack.needs(), printed
        pytest.skip(attack.needs())


@needs_landlock
@each
def test_attack_is_stopped(
    name: str, target: World, confined: Callable[..., str], record_property: Callable[[str, Any], None]
) -> None:
    printed = confined(name, target.told)
    succeeded = CODER_ATTACKS[name].judge(target, printed)
    record_property("red team", (MODE, name, succeeded))
    assert not succeeded, printed
    assert printed, "it was not run"


@needs_landlock
@pytest.mark.parametrize("kernel", OLDER)
@pytest.mark.parametrize("name", ON_FILES)
def test_no_older_kernel_lets_it_empty_a_file(
    name: str, kernel: str, target: World, confined: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landlock, "abi", lambda: OLDER[kernel])  # no kernel of this machine is that old
    printed = confined(name, target.told)
    assert printed and not CODER_ATTACKS[name].judge(target, printed)


@needs_landlock
@pytest.mark.parametrize("name", ON_PROCESSES)
def test_an_ordinary_user_changes_no_other_process_either(
    name: str, record_property: Callable[[str, Any], None]
) -> None:
    """Who is not root, and has no capability to lose, may do more to its own processes than root without them."""
    program = ORDINARY_USER.format(root=str(ROOT), coders=str(CODERS))
    outcomes = {}
    for how in ("open", "confined"):
        command = [sys.executable, "-c", program, name, how]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        outcomes[how] = done.stdout.strip() or done.stderr
    if outcomes["open"] == "as it was" and (reason := CODER_ATTACKS[name].needs()):
        pytest.skip(reason)
    assert outcomes["open"] == "changed"
    succeeded = outcomes["confined"] != "as it was"
    record_property("red team", (MODE, f"{name} (ordinary user)", succeeded))
    assert not succeeded, outcomes
