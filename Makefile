# Each target works as the first command ever run in a fresh clone: it needs Python 3.11+ with venv and pip, and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.DEFAULT_GOAL := help

.PHONY: help
help:  ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/core  ## Try it: an offline workspace in the terminal program (without a terminal: a scripted run)
	@$(BIN)/loopreview demo

.PHONY: test
test: $(VENV)/dev  ## Run all tests, also those that train or serve a tiny model
	$(BIN)/python -m pytest -n auto --dist worksteal

.PHONY: check
check: $(VENV)/dev  ## Lint, format, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: bench
bench: $(VENV)/dev  ## Measure what the program promises, as one table
	$(BIN)/python -m benchmarks

.PHONY: screenshots
screenshots: $(VENV)/core  ## Draw the pictures in docs/
	$(BIN)/python docs/make_screenshots.py

.PHONY: clean
clean:  ## Remove the environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "loopreview needs Python 3.11 or newer; name one with: make PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/core: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) --editable .
	@touch $@

$(VENV)/dev: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/core
