# One-command loops. Everything runs in .venv, which the first target that needs it creates.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The release that pip resolves to a CPU build; any torch >= 2.6 already in .venv is kept.
TORCH ?= torch==2.13.0

.PHONY: demo test lint typecheck unit bench clean

demo: $(VENV)/.demo
	$(BIN)/latentpath demo --out demo-out --overwrite

test: lint unit

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

unit: $(VENV)/.dev
	$(BIN)/pytest -q

bench: $(VENV)/.dev
	$(BIN)/python benches/run.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet "$(TORCH)"

$(VENV)/.demo: $(VENV)/bin/python pyproject.toml setup.py
	$(BIN)/python -m pip install --quiet --editable ".[demo]"
	touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml setup.py
	$(BIN)/python -m pip install --quiet --editable ".[test,lint,triton]"
	touch $@ $(VENV)/.demo

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
