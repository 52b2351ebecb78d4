"""The sandbox with parts of the kernel left out: what still succeeds, the report on the layers admits."""

import pytest

from autoharness.host.sandbox import NOT_ENFORCED
from redteam.attacks import ATTACKS
from redteam.world import World, perform

pytestmark = pytest.mark.slow


KERNELS = {
    "no Landlock": (0, True),
    "Landlock 1": (1, True),
    "Landlock 3": (3, True),
    "Landlock 5": (5, True),
    "no filter": (99, False),
    "neither": (0, False),
}
TRIED = (
    "read_task_file",
    "read_by_child_process",
    "read_by_file_handle",
    "out_tcp",
    "out_abstract",
    "write_ledger",
    "truncate_for_reading",
    "truncate_by_access_mode_3",
    "chmod",
    "set_file_flags",
    "lease",
    "kill_parent",
    "kill_parent_by_owner",
    "kill_parent_by_owner_ioctl",
    "see_what_is_cached",
    "evict_a_library",
    "lock_a_library",
    "find_processes",
    "kill_itself",
    "kill_itself_by_timer",
    "use_capabilities",
    "write_large_file",
)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", TRIED)
def test_what_succeeds_was_admitted(name: str, kernel: str, world: World) -> None:
    attack, (abi, seccomp) = ATTACKS[name], KERNELS[kernel]
    confinement = {"landlock_abi": abi, "seccomp": seccomp}
    report = perform(name, "sandbox", world, attack.patience_s, **attack.job, confinement=confinement)
    if attack.judge(world, report):
        layers = report.get("layers") or _layers_of(kernel)  # it did not live to tell them
        in_force = [layer for layer in attack.layers if not layers[layer]]
        assert not in_force, report
        assert set(attack.layers) <= set(NOT_ENFORCED)


def _layers_of(kernel: str) -> dict[str, str]:
    abi, seccomp = KERNELS[kernel]
    signals = "" if abi >= 6 else "too old"
    always = {"privileges": "", "limits": ""}
    return always | {"calls": "" if seccomp else "left out", "signals": signals, "files": "" if abi else "none"}


def test_the_kernels_differ(world: World) -> None:
    """Leaving a layer out leaves something open: the attacks above are not stopped by something else."""
    report = perform("chmod", "sandbox", world, 20, confinement={"landlock_abi": 0, "seccomp": False})
    assert ATTACKS["chmod"].judge(world, report), report
