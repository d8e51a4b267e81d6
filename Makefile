# Each target does all of its own set-up: a virtual environment in .venv, made once.

PYTHON ?= python3
BIN := .venv/bin
SUITE := -n 2 --dist loadfile

.PHONY: demo test test-slow test-all check clean

demo: .venv/.installed
	$(BIN)/downslope train digits --seed 0

test: .venv/.test-installed
	$(BIN)/python -m pytest $(SUITE) -m "not slow"

test-slow: .venv/.test-installed
	$(BIN)/python -m pytest $(SUITE) -m slow

test-all: .venv/.test-installed
	JAX_DISABLE_MOST_OPTIMIZATIONS=0 $(BIN)/python -m pytest $(SUITE)

check: .venv/.test-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

clean:
	rm -rf .venv

.venv/.made:
	$(PYTHON) -m venv .venv
	touch $@

.venv/.installed: .venv/.made pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/.test-installed: .venv/.made pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@ .venv/.installed
