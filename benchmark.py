"""Run benchmark tasks with the agent in agent/agent.py. See: python benchmark.py --help"""

import sys

if __name__ == "__main__":
    sys.pycache_prefix = __file__  # no folder: no bytecode is found, so the package is loaded from its source
    import autoharness

    autoharness.begin()
from autoharness.benchmark import BenchmarkRunner, Check, Result, Simulation, Step, TauBenchRunner, main, run_door

__all__ = ["BenchmarkRunner", "Check", "Result", "Simulation", "Step", "TauBenchRunner"]

if __name__ == "__main__":
    run_door(main)
