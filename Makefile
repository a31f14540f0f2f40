# Two commands for a newcomer: `make demo` and `make test`. `make help` lists the rest.
PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
READY   := $(VENV)/.ready
PEERS   := build/bench
QUIETLY := --quiet --disable-pip-version-check
# Debian splits the part of venv that brings pip into a package of its own; a pip of the system can stand in for it.
MAKE_VENV = { $(PYTHON) -m venv --clear $(VENV) >/dev/null 2>&1 || \
	  { $(PYTHON) -m venv --clear --without-pip $(VENV) && \
	    $(PYTHON) -m pip --python $(BIN)/python install $(QUIETLY) pip 2>/dev/null; } || \
	  { rm -rf $(VENV); echo "Python cannot make a virtual environment (on Debian and Ubuntu: apt-get install python3-venv)"; exit 1; }; }

.DEFAULT_GOAL := help
.PHONY: help setup web wheel demo demo-cluster test test-faults test-cluster mutants bench bench-full peers check audit gen contract-baseline fmt lock clean

help:  ## list the commands
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY)  ## install everything into .venv (the other commands do it by themselves)

$(READY): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "EVS needs Python 3.11 or newer; '$(PYTHON)' is not. Name another: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(MAKE_VENV)
	@echo "Installing into $(VENV) (a minute or two, once) ..."
	@$(BIN)/python -m pip install $(QUIETLY) --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install $(QUIETLY) --no-deps --no-build-isolation --editable .
	@# Compiles the engine's loops, once, so that no first start pays for it.
	@$(BIN)/python -c 'import evs_server.engine'
	@touch $@

web: $(READY)  ## build the page that the bridge serves, if its sources have changed (demo and test do it by themselves)
	@$(BIN)/python tools/web.py build

wheel: $(READY)  ## build the wheel, page included, into dist/
	$(BIN)/python -m hatchling build --target wheel

demo: web  ## run everything on this machine: database, EVS, bridge, page and a small exchange (Ctrl-C stops it)
	@exec $(BIN)/evs demo

demo-cluster: web  ## the same as several processes, to watch and to break: NATS, a gateway, three shards, two bridges
	@exec $(BIN)/evs demo-cluster

# Half of its time is spent waiting for servers: two at a time take little more than half as long. A file stays together.
test: web  ## run the test suite
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

test-faults: $(READY)  ## what takes minutes: thousands of simulated worlds, hundreds of crashes, a database that comes and goes
	$(BIN)/python -m pytest -m "faults or not faults" tests/simulation tests/faults tests/e2e/test_plain_sender.py \
	  tests/browser/test_demo_cluster.py

test-cluster: $(READY)  ## a cluster of real processes: what one process answers, and everything killed under load
	$(BIN)/python -m pytest -m "faults or not faults" tests/cluster tests/integration/test_log_cluster.py \
	  tests/e2e/test_acceptance.py tests/e2e/test_acceptance_refusals.py tests/e2e/test_acceptance_bridge.py \
	  tests/e2e/test_sender.py tests/e2e/test_plain_sender.py

mutants: $(READY)  ## show that the tests notice: apply each known mistake to a copy and see its tests fail
	$(BIN)/python tools/mutants.py

bench: $(READY) peers  ## measure EVS against what the machine can do (five minutes); writes bench/results and docs/PERFORMANCE.md
	$(BIN)/python -m bench

bench-full: $(READY) peers  ## the same with more rounds, 10,000 readers and a whole day of trades
	$(BIN)/python -m bench --full

# What users might pick instead of EVS, in an environment of its own: it brings a hundred packages, and is not to decide
# which version of anything EVS runs on. Where it cannot be installed, its case is left out, and everything else measured.
peers: $(READY)
	@cmp -s requirements-bench.lock $(PEERS)/.ready || { \
	  echo "Installing what EVS is measured against into $(PEERS) (a minute or two, once) ..." && \
	  $(BIN)/python -m venv --clear --without-pip $(PEERS) && \
	  $(BIN)/python -m pip --python $(PEERS)/bin/python install $(QUIETLY) --require-hashes -r requirements-bench.lock && \
	  cp requirements-bench.lock $(PEERS)/.ready; } || \
	  { rm -rf $(PEERS); echo "Pathway cannot be installed here: tick_1/pathway will be left out"; }

check: $(READY)  ## lint, types, layers, contract, the web client's types and form, known vulnerabilities
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy evs_server clients/python/evs_client tests tools bench examples
	$(BIN)/lint-imports
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code
	$(BIN)/python tools/check_contract.py
	$(BIN)/python tools/web.py check
	@# A known vulnerability fails the check; a vulnerability service that is out of reach does not.
	$(BIN)/python tools/audit.py --if-reachable

audit: $(READY)  ## hold the dependencies against the known vulnerabilities (needs the internet; says so without it)
	$(BIN)/python tools/audit.py

gen: $(READY)  ## generate evs.v1 from proto/
	@# buf looks for its generators on the PATH.
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/buf generate

# `make check` holds the contract to this image. Move it when a release has promised what is new, or a break is agreed on.
contract-baseline: $(READY)  ## make the contract as it stands the one that may not be broken
	$(BIN)/buf build --exclude-source-info --output proto/evs.v1.binpb

fmt: $(READY)  ## format code and contract
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format --quiet .
	$(BIN)/buf format --write
	$(BIN)/python tools/web.py fmt

LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --custom-compile-command "make lock"

lock: $(READY)  ## resolve the dependencies again and write requirements.lock and requirements-bench.lock
	$(LOCK) --group dev --output-file requirements.lock pyproject.toml
	$(LOCK) --group bench --output-file requirements-bench.lock

clean:  ## remove what the commands above have made here (EVS_DATA_DIR, where the demo's accounts are, stays)
	rm -rf build dist clients/web/node_modules clients/web/build clients/web/dist evs_server/bridge/static
	rm -rf $(VENV) .hypothesis .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
