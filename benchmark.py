"""Run benchmark tasks with the agent in agent/agent.py. See: python benchmark.py --help"""

from autoharness.benchmark import BenchmarkRunner, TauBenchRunner, main, run_door

__all__ = ["BenchmarkRunner", "TauBenchRunner"]

if __name__ == "__main__":
    run_door(main)
