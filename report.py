"""Compare two kept versions of the agent. See: python report.py --help"""

from autoharness.report import main, run_door

if __name__ == "__main__":
    run_door(main)
