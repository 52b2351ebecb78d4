"""Set everything up and record the baseline. See: python prepare.py --help"""

import sys

if __name__ == "__main__":
    sys.pycache_prefix = __file__  # no folder: no bytecode is found, so the package is loaded from its source
    import autoharness

    autoharness.begin()
from autoharness.commands.prepare import main, run_door

if __name__ == "__main__":
    run_door(main)
