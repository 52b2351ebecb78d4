"""auto-harness: improves an LLM agent's harness by itself, and keeps only what held-out tasks say helped."""

from autoharness.import_finder import begin, from_source

__all__ = ["begin"]
__version__ = "0.1.0"

from_source()
