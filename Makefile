# Everything runs from a bare checkout: the first target builds .venv, which the others need.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check clean

# In a folder of its own: the checkout's files stay as they are.
demo: .venv/ready
	rm -rf .demo
	mkdir -p .demo/agent
	cp agent/templates/tau_bench.py .demo/agent/agent.py
	cd .demo && AUTOHARNESS_VAULT=vault ../$(BIN)/python ../benchmark.py --domain airline \
		--agent-model replay/../examples/recording.json --task-ids 1 10 12 17 20
	@echo "Read what went wrong in task 20: .demo/workspace/traces/latest/20-*/trace.md"

test: .venv/ready
	$(BIN)/python -m pytest

check: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf .venv .demo .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info

# uv installs in seconds what takes pip minutes
.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[dev]'
	touch $@
