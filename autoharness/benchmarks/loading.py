"""Loads the experiment's benchmark: tau2, or your own."""

from autoharness.benchmarks.custom import OwnBenchmark
from autoharness.benchmarks.protocol import Benchmark
from autoharness.benchmarks.tau2.adapter import Tau2
from autoharness.core.settings import Experiment


def load(experiment: Experiment) -> Benchmark:
    """Raises UserError if it cannot be loaded."""
    return Tau2(experiment) if experiment.on_tau2 else OwnBenchmark(experiment)
