# The two commands of the README are `make demo` and `make test`; both set up all they need in .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready-$(shell sha256sum pyproject.toml | cut -c1-16)

# Arguments for the targets that take some: make test ARGS="-k switch -x". Two tests run at a time, since most of their
# time they wait for a server; -n 0 runs one after the other.
ARGS ?=
# How long the soak goes on: seconds, or like 40m and 8h.
DURATION ?= 20m
# How many random requests `described` makes, and `soak` at its end: some thirty a second.
CASES ?= 50000

.PHONY: help demo test check lint format bench judge-sim soak described door-proof grpc-door-proof bench-peers screenshots clean
.DEFAULT_GOAL := help

help: ## Show this list
	@echo "make TARGET [PYTHON=python3.12] [ARGS=...]"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-14s %s\n", $$1, $$2}'

demo: $(READY) ## Replace a live model under load and show the certificate
	@$(BIN)/changeover demo $(ARGS)

test: $(READY) ## Run the tests
	@$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

check: lint test ## All that has to pass before a change is taken: lint and test

lint: $(READY) ## Formatting, lint, types, import layers
	@echo "ruff format" && $(BIN)/ruff format --check --quiet .
	@echo "ruff check" && $(BIN)/ruff check --quiet .
	@echo "mypy" && $(BIN)/mypy
	@echo "lint-imports" && $(BIN)/lint-imports

format: $(READY) ## Rewrite the files as `lint` wants them
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --quiet --fix .

bench: $(READY) ## Print the project's figures as JSON lines (20 minutes and more)
	@$(BIN)/python benchmarks/run.py $(ARGS)

judge-sim: $(READY) ## The judge against simulated traffic: false rollbacks, power, known ways to be wrong
	@$(BIN)/python benchmarks/judge_sim.py $(ARGS)

soak: $(READY) ## 1,000 changeovers and random kills under load for DURATION (default 20m), with a report; then `described`
	@$(BIN)/python benchmarks/soak.py --duration $(DURATION) --gateways 2 $(ARGS)
	@$(BIN)/python benchmarks/described.py --cases $(CASES)

described: $(READY) ## CASES (default 50,000) random requests made of the inference port's own description
	@$(BIN)/python benchmarks/described.py --cases $(CASES) $(ARGS)

grpc-door-proof: $(READY) ## The HTTP/2 door against hostile and unlucky clients, stock grpc.aio beside it (4 minutes)
	@$(BIN)/python benchmarks/grpc_door_proof.py $(ARGS)

door-proof: $(READY) ## The HTTP/1.1 door against hostile and unlucky clients, stock uvicorn beside it
	@$(BIN)/python benchmarks/door_proof.py $(ARGS)

bench-peers: $(READY) ## Side by side with Triton, MLServer, LitServe and BentoML (12 minutes)
	@$(BIN)/python benchmarks/peers_bench.py $(ARGS)

screenshots: $(READY) ## Pictures of the dashboard into docs/images (2 minutes, needs Chromium)
	@$(BIN)/python benchmarks/screenshots.py $(ARGS)

clean: ## Remove what the other targets made
	rm -rf $(VENV) .venv-peers .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist bench-results
	find src tests benchmarks training -name __pycache__ -type d -prune -exec rm -rf {} +

# Made again when pyproject.toml changes; a .venv whose interpreter is gone is built anew.
$(READY): | pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one with PYTHON=..., for example: make PYTHON=python3.12" >&2; exit 1; }
	@echo "setting up $(VENV) with $$($(PYTHON) --version); the first time takes a minute or two"
	@$(BIN)/python -c 'import pip' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV) || \
		{ echo "python -m venv failed; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "  pip" && $(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@echo "  changeover, and the tools for its tests" && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group dev
	@rm -f $(VENV)/.ready-* && touch $@
	@echo "  ready"
