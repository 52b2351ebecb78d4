"""Attacks on the agent host from inside: what `agent/agent.py` may try, and what must come of it."""
