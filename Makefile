# Kanal's commands. `make run` and `make test` set everything up in .venv by themselves.
PYTHON ?= python3
BIN := .venv/bin
CONFIG ?= samples/kanal.toml
# one more than cores: some tests wait for servers, not for the processor
WORKERS ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))
export DAGSTER_HOME := $(CURDIR)/data/dagster
export KANAL_CONFIG := $(CURDIR)/$(CONFIG)

COUNT ?= 10000

.PHONY: help run test check bench bench-linking dev docs lock clean
help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/'

run: .venv/.done ## the whole pipeline on samples/ (CONFIG=FILE for another kanal.toml)
	$(BIN)/kanal run

test: .venv/.done ## all tests, in parallel
	$(BIN)/pytest -q -n $(WORKERS) --dist loadgroup

check: .venv/.done ## format, lint, import walls, types, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MAKE) test

bench: .venv/.done ## how fast and how large: 100,000 and 1,000,000 made-up messages
	$(BIN)/python -m benchmarks.pipeline 100000 1000000

bench-linking: .venv-bench/.done ## Kanal's linker beside datasketch and Splink (COUNT=100000 for more)
	.venv-bench/bin/python -m benchmarks.linking $(COUNT)

dev: .venv/.done ## Dagster's UI on http://127.0.0.1:3000
	@mkdir -p $(DAGSTER_HOME) && ln -sfn ../../dagster.yaml $(DAGSTER_HOME)/dagster.yaml
	$(BIN)/python -W ignore::FutureWarning -m dagster dev -h 127.0.0.1 -p 3000

docs: .venv/.done ## write docs/data-dictionary.md anew from the contracts
	$(BIN)/python -m pipelines.dictionary > docs/data-dictionary.md

lock: ## pin every dependency anew (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
		--no-strip-extras --no-header --extra dev -o requirements.lock pyproject.toml
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
		--no-strip-extras --no-header --extra bench -c requirements.lock -o benchmarks/requirements.lock pyproject.toml

clean: ## remove .venv, .venv-bench and all data of the samples
	rm -rf .venv .venv-bench data

.venv/.done: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Kanal needs Python 3.11 or newer; say which: make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "setting up .venv (once, about a minute)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv-bench/.done: benchmarks/requirements.lock pyproject.toml
	@echo "setting up .venv-bench (once, about a minute)"
	@$(PYTHON) -m venv .venv-bench
	@.venv-bench/bin/pip install -q --disable-pip-version-check --require-hashes -r benchmarks/requirements.lock
	@touch $@
