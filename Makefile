# Two commands for a newcomer: `make demo` and `make test`. `make help` lists the rest.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
# buf and the generators are found beside the interpreter that runs them.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup demo test check gen fmt lock clean

help:  ## list the commands
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY)  ## install everything into .venv (the other commands do it by themselves)

$(READY): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "EVS needs Python 3.11 or newer; this is `$(PYTHON) --version`. Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { echo "Python's venv module is missing (on Debian: apt-get install python3-venv)"; rm -rf $(VENV); exit 1; }
	@echo "Installing into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY)  ## run everything on this machine: database, EVS, bridge, page and a small exchange (Ctrl-C stops it)
	@exec $(BIN)/evs demo

test: $(READY)  ## run the test suite
	$(BIN)/python -m pytest

check: $(READY)  ## lint, types, layers, contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy evs_server clients/python/evs_client tests tools
	$(BIN)/lint-imports
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code
	$(BIN)/python tools/check_contract.py

gen: $(READY)  ## generate evs.v1 from proto/
	$(BIN)/buf generate

fmt: $(READY)  ## format code and contract
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format --quiet .
	$(BIN)/buf format --write

lock: $(READY)  ## resolve the dependencies again and write requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --custom-compile-command "make lock" --group dev --output-file requirements.lock pyproject.toml

clean:  ## remove what the commands above have made, the demo's database included
	rm -rf $(VENV) .evs .hypothesis .pytest_cache .mypy_cache .ruff_cache
