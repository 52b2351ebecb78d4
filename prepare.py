"""Set everything up and record the baseline. See: python prepare.py --help"""

from autoharness.prepare import main, run_door

if __name__ == "__main__":
    run_door(main)
