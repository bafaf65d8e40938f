# `make help` says what there is. Everything is kept in this checkout; a second one beside it is independent.

PYTHON ?= python3
BIN := .venv/bin
TEST ?= tests

.DEFAULT_GOAL := help
.PHONY: help install install-tests demo test test-all check format wire reference bench bench-deploy bench-api bench-supervisor bench-flood clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-16s %s\n", $$1, $$2}' Makefile

install:  ## set everything up in .venv: packages, locked dependencies, wire code
	@$(PYTHON) tools/install.py

install-tests:
	@$(PYTHON) tools/install.py --for-tests

demo: install  ## run the product here and deploy the examples; DEMO_EXIT=1 ends after the proof
	@$(BIN)/python -m tools.demo

test: install-tests  ## the tests, under 10 minutes on two cores; TEST=path for some of them
	$(BIN)/python -m pytest -n 2 -q $(TEST)

test-all: install-tests  ## the tests, with twenty times the examples of every property
	TEST_ALL=1 $(BIN)/python -m pytest -n 2 -q $(TEST)

check: install wire  ## format, lint, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install  ## repair what ruff can repair
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wire: install
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m protos.build_grpc

reference: install  ## write docs/reference/api.md and errors.md from the contract
	@$(BIN)/python -m tools.reference

bench: bench-deploy bench-api bench-supervisor bench-flood  ## all benchmarks

bench-deploy: install  ## how long a deployment takes: POST to first 200, cold and warm
	@$(BIN)/python -m benchmarks.deploy

bench-api: install  ## requests a second and their latency, beside a bare Flask and sqlite3 app
	@$(BIN)/python -m benchmarks.api

bench-supervisor: install  ## restarts, memory, logs, beside five other supervisors; ARGS=--quick does less
	@$(BIN)/python -m benchmarks.supervisor $(ARGS)

bench-flood: install  ## a service that writes 100,000 lines a second, and its neighbour; ARGS=--quick does less
	@$(BIN)/python -m benchmarks.flood $(ARGS)

clean:  ## remove what was made here, .venv included; end a demo first
	rm -rf .venv .cache .demo build dist *.egg-info .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage
	rm -f protos/*_pb2*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# How requirements.lock is made again after a change of the dependencies in pyproject.toml (needs uv):
#   uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --all-extras pyproject.toml -o requirements.lock
