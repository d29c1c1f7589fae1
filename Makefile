# Otopilot. `make run` and `make test` set everything up themselves; they need Python 3.11+ and make.
.DEFAULT_GOAL := help
.PHONY: help setup run test bench test-containers test-clients faults kills kill-drill load check protos clean lock simulate simulate-shared guard-hour paper-cost

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
# The first interpreter that is 3.11 or newer; PYTHON=... overrides.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input
PROTOS := $(wildcard protos/*.proto)

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "otopilot needs Python 3.11 or newer: none found on PATH (set PYTHON=/path/to/python3)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "PYTHON=$(PYTHON) is no Python 3.11 or newer"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) has no venv module: install it (Debian, Ubuntu: apt-get install python3-venv) and run make again"; exit 1; }
	@echo "setting up $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(BIN)/python requirements.lock pyproject.toml
	@echo "installing what otopilot needs (requirements.lock)"
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.protos: $(VENV)/.run $(PROTOS)
	@$(BIN)/python -m grpc_tools.protoc -I . --python_out=. --grpc_python_out=. $(PROTOS)
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements-dev.lock
	@echo "installing the development tools (requirements-dev.lock)"
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

$(VENV)/.stubs: $(VENV)/.dev $(VENV)/.protos $(PROTOS)
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m grpc_tools.protoc -I . --mypy_out=quiet:. --mypy_grpc_out=quiet:. $(PROTOS)
	@touch $@

$(VENV)/.clients: $(VENV)/.stubs requirements-clients.lock
	@echo "installing public Binance clients (requirements-clients.lock)"
	@$(PIP) install --require-hashes -r requirements-clients.lock
	@touch $@

setup: $(VENV)/.run $(VENV)/.protos ## Make the virtual environment and the generated code

run: setup ## Run the demo: three paper users trade until the target is reached
	@$(BIN)/otopilot run --demo

# Three at a time also on two cores: tests wait more than they work.
test: $(VENV)/.stubs ## Run the tests ([JOBS=n] at a time)
	@$(BIN)/python -m pytest -n $(or $(JOBS),3) --dist worksteal --ignore=tests/containers --ignore=tests/clients

test-containers: $(VENV)/.stubs ## Run the containers for real (needs a Docker engine and Compose)
	@$(BIN)/python -m pytest tests/containers

test-clients: $(VENV)/.clients ## Trade on the paper exchange with public Binance clients; show client x operation
	@$(BIN)/python -m pytest tests/clients

faults: $(VENV)/.stubs ## Trade 10,000 lists over sockets while everything fails, then compare all books (LISTS=n)
	@$(BIN)/python -m tests.faults.run --lists $(or $(LISTS),10000)

kills: $(VENV)/.stubs ## kill -9 the order and strategy services at every failpoint; show how long recovery takes
	@$(BIN)/python -m tests.faults.kills

kill-drill: $(VENV)/.stubs ## SIGKILL any service at random while 20 users trade; show how all recover (N=200 [SEED=n])
	@$(BIN)/python -m tests.system.kill_drill -n $(or $(N),200) $(if $(SEED),--seed $(SEED))

load: $(VENV)/.stubs ## Trade with many users within the venue's own limits; show start and recovery (USERS="10 100 300")
	@$(BIN)/python -m tests.system.load $(if $(USERS),--users $(USERS))

bench: setup ## Measure what things cost against floors of the same run
	@$(BIN)/python -m benchmarks.group_commit
	@$(BIN)/python -m benchmarks.start_up --orders 20000
	@$(BIN)/python -m benchmarks.idle_loops
	@$(BIN)/python -m benchmarks.loops

simulate: $(VENV)/.stubs ## Play seeds under faults and crashes ([SEED=n] [SEEDS=n] [FROM=n] [PROFILE=mild|harsh|alone] [KEEP=1])
	@$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),300) --from $(or $(FROM),0)) \
		--profile $(or $(PROFILE),both) $(if $(TRACE),--trace) $(if $(KEEP),--keep) $(if $(WITHIN),--seconds $(WITHIN))

guard-hour: $(VENV)/.stubs ## An hour of ten users on one symbol, with the self-match guard and without ([SEED=n] [MINUTES=n])
	@$(BIN)/python -m tests.simulation.guard_hour --minutes $(or $(MINUTES),60) --seed $(or $(SEED),1)

simulate-shared: $(VENV)/.stubs ## Fifty users on a shared target under faults ([SEED=n] [RUNS=n] [FROM=n] [PROFILE=mild|harsh] [KEEP=1])
	@$(BIN)/python -m tests.simulation --shared $(if $(SEED),--seed $(SEED),--seeds $(or $(RUNS),1000) --from $(or $(FROM),0)) \
		--profile $(or $(PROFILE),both) $(if $(TRACE),--trace) $(if $(KEEP),--keep)

paper-cost: $(VENV)/.stubs ## What `otopilot plan` expects runs to cost, beside what they cost on the paper exchange ([SEED=n])
	@$(BIN)/python -m tests.simulation.paper_cost --seed $(or $(SEED),1)

check: $(VENV)/.stubs ## Lint, types, import rules, proto lint
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/python -m pytest tests/otopilot/test_core_is_deterministic.py
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/buf lint

protos: ## Generate code from protos/ again
	@rm -f $(VENV)/.protos $(VENV)/.stubs
	@$(MAKE) --no-print-directory $(VENV)/.stubs

lock: $(BIN)/python ## Renew the locked versions (needs uv on PATH)
	@for set in "requirements.lock --extra build" "requirements-dev.lock --extra build --extra dev" \
		"requirements-clients.lock --extra build --extra dev --extra clients --constraint requirements-dev.lock"; do \
		set -- $$set; out=$$1; shift; \
		uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
			--no-emit-find-links --no-header --no-annotate "$$@" pyproject.toml -o "$$out"; done

clean: ## Remove everything that was made: environment, generated code, caches (not var/)
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build *.egg-info
	@rm -f protos/*_pb2.py protos/*_pb2_grpc.py protos/*_pb2.pyi protos/*_pb2_grpc.pyi
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
