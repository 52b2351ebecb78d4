"""Run benchmark tasks with the agent in agent/agent.py. See: python benchmark.py --help"""

import sys

if __name__ == "__main__":
    sys.pycache_prefix = __file__  # no folder: no bytecode is found, so the package is loaded from its source
    import autoharness

    autoharness.begin()
from autoharness.commands.benchmark import *  # noqa: F403  what its __all__ names can be imported from here

if __name__ == "__main__":
    run_door(main)  # noqa: F405
