"""Drops the stand-in and imports the real tau2, which knows where its data lies."""

import sys
from pathlib import Path


def attack(world):
    for name in [name for name in sys.modules if name.partition(".")[0] == "tau2"]:
        del sys.modules[name]
    import tau2

    return (Path(tau2.__file__).parent / "data/tau2/domains/mock/tasks.json").read_text()
