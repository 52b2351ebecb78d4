"""auto-harness: improves an LLM agent's harness by itself, and keeps only what held-out tasks say helped."""

__version__ = "0.1.0"
