"""Commit what the gate accepted and add its row to workspace/results.tsv. See: python record.py --help"""

from autoharness.record import main, run_door

if __name__ == "__main__":
    run_door(main)
