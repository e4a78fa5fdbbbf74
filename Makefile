# Every target sets up what it needs in .venv and needs no other target to be made before it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest -q

# The heart's sources: it is compiled anew when they change.
HEART := $(wildcard virtsim/core/*.p* virtsim/scheduling/*.p* virtsim/scheduling/policies/*.p* virtsim/cluster/cloudsim/*.p*)

.PHONY: demo test test-all test-nightly check bench docs golden clean
.DEFAULT_GOAL := test

demo: $(VENV)/.all
	@$(BIN)/virtsim demo

# What runs on the kernel runs alone, so that tests do not disturb each other; the rest on two processes.
test: $(VENV)/.dev
	$(PYTEST) -n 2 --dist loadfile -m "not slow and not needs"
	$(PYTEST) -m "needs and not slow"

test-all: $(VENV)/.dev
	$(PYTEST) -n 2 --dist loadfile -m "not needs"
	$(PYTEST) -m "needs"

# 2,000 examples of every law of policies, other ones each night.
test-nightly: $(VENV)/.dev
	HYPOTHESIS_PROFILE=nightly $(PYTEST) -n 2 tests/testing

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	VIRTSIM_INTERPRETED=1 $(PYTEST) --doctest-modules virtsim
	$(PYTEST) -m "not needs" tests/test_public_api.py tests/docs

# The longer ones say how they are run: tests/bench/bench_*.py --help.
bench: $(VENV)/.dev
	$(BIN)/python tests/bench/import_cost.py
	$(BIN)/python tests/bench/engine_speed.py
	$(BIN)/python tests/bench/bench_heart.py
	$(BIN)/python tests/bench/bench_vms.py
	$(BIN)/python tests/bench/bench_cluster.py process

docs: $(VENV)/.docs
	$(BIN)/python docs/generate.py
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

# Writes the generated pages and golden files again; look at the diff before you commit it.
golden: $(VENV)/.dev
	$(BIN)/python docs/generate.py
	$(BIN)/python -m tests.cluster.migration_cases
	$(BIN)/python -m tests.testing.broken

clean:
	rm -rf out build dist docs/_build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
	rm -f virtsim/*/*.so virtsim/*/*/*.so

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2])' || \
	  { echo "virtsim needs Python 3.11 or later; run: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "$(PYTHON) has no venv; install it (Debian: python3-venv)"; exit 1; }

$(VENV)/.all: pyproject.toml setup.py $(HEART) | $(VENV)/bin/python
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[all]'
	@touch $@

$(VENV)/.dev: pyproject.toml setup.py $(HEART) | $(VENV)/bin/python
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.all

$(VENV)/.docs: $(VENV)/.dev
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[docs]'
	@touch $@
