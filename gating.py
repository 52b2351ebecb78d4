"""Decide whether the edit of agent/agent.py is kept. See: python gating.py --help"""

from autoharness.gate import main, run_door

if __name__ == "__main__":
    run_door(main)
