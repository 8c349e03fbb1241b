# Every target sets up what it needs; a fresh machine wants Python >= 3.11 and make, nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
READY_LOWEST := .venv-lowest/.ready

.PHONY: help verify test test-deep test-lowest lint coverage mutation benchmark clean

help:
	@echo "make verify       run every registered theorem and print the verdicts"
	@echo "make test         lint, type-check and run the tests (what continuous integration runs)"
	@echo "make test-deep    the tests with thousands of examples, long runs included"
	@echo "make test-lowest  the tests with the lowest dependency versions that are allowed"
	@echo "make coverage     the tests with branch coverage"
	@echo "make mutation     mutate the code of MUTATE=... and count which mutants the tests kill"
	@echo "make lint         formatting, lint and strict types"

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable . --group dev
	@touch $@

$(READY_LOWEST): pyproject.toml constraints-lowest.txt
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	.venv-lowest/bin/python -m pip install --quiet --constraint constraints-lowest.txt --editable . --group test
	@touch $@

verify: $(READY)
	$(BIN)/provable verify

test: lint
	PROVABLE_PROFILE=ci $(BIN)/python -m pytest --quiet --numprocesses 2

test-deep: $(READY)
	PROVABLE_PROFILE=deep $(BIN)/python -m pytest --quiet --numprocesses 2 --deep

test-lowest: $(READY_LOWEST)
	PROVABLE_PROFILE=dev .venv-lowest/bin/python -m pytest --quiet --numprocesses 2

coverage: $(READY)
	PROVABLE_PROFILE=ci $(BIN)/python -m pytest --quiet --numprocesses 2 --cov --cov-report=term

lint: $(READY)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

mutation: $(READY)
	$(BIN)/mutmut run $(MUTATE)
	$(BIN)/mutmut results

clean:
	rm -rf $(VENV) .venv-lowest mutants .hypothesis .mypy_cache .ruff_cache .pytest_cache
