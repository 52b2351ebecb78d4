# Everything runs from a bare checkout: the first target builds .venv, which the others need.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check clean

# In a folder of its own, .demo: the checkout's files stay as they are.
demo: .venv/ready
	$(BIN)/python examples/demo.py

test: .venv/ready
	$(BIN)/python -m pytest

check: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf .venv .demo .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info

# uv installs in seconds what takes pip minutes. With bytecode: where Python is told to write none, every worker would
# compile litellm and all that comes with it, for two seconds.
.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt --editable '.[dev]'
	touch $@
