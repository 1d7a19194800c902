# One front door. `make bundle` and `make test` set up everything they need: a virtual environment in .venv, and by apt
# the Debian packages whose programs are not there yet.

CONFIG ?= examples/driver-stats/bundle.yaml
OUTPUT ?= dist
PYTHON ?= python3
# One more than most machines of CI have processors: tests also wait, for disks, servers and each other.
WORKERS ?= 3
BIN    := .venv/bin
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --maxfail 10
export PATH := $(CURDIR)/$(BIN):$(PATH)

# program=package, where they differ
# Root makes root file systems by itself, a user by a range of subordinate ids.
BUNDLE_PROGRAMS := skopeo mmdebstrap $(if $(wildcard .venv/bin/python),,module:ensurepip=python3-venv) $(if $(filter 0,$(shell id -u)),,newuidmap=uidmap)
TEST_PROGRAMS   := $(BUNDLE_PROGRAMS) umoci dockerd=docker.io docker=docker.io podman runc newuidmap=uidmap \
                   docker-registry redis-server psql=postgresql kubectl=kubernetes-client openssl shellcheck git

.DEFAULT_GOAL := help
.PHONY: help bundle test fuzz test-cluster test-machines test-repos check unit integration golden format bench lock-tools schema feast-release clean

help:  ## Say what each target does
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

bundle:  ## Build the bundle of CONFIG (default: the example) into OUTPUT
	@PYTHON="$(PYTHON)" sh tests/setup/programs.sh $(BUNDLE_PROGRAMS)
	@$(MAKE) --no-print-directory .venv/run.stamp
	@$(BIN)/bundler build --file "$(CONFIG)" --output-dir "$(OUTPUT)"

# What ends soonest runs first, and a stage that fails ends the run: static checks, unit tests, tests with real programs.
test: check  ## Run every check and every test, with real programs (15 minutes)
	$(PYTEST) tests/unit --cov --cov-report= --cov-fail-under=0
	@sh tests/setup/programs.sh $(TEST_PROGRAMS)
	$(PYTEST) tests/integration tests/e2e --cov --cov-append --cov-report=term:skip-covered

fuzz: .venv/dev.stamp  ## Feed every reader mutated inputs for FUZZ_MINUTES (ten)
	FUZZ_MINUTES=$(or $(FUZZ_MINUTES),10) $(BIN)/python -m pytest -n $(WORKERS) tests/fuzz

test-cluster: .venv/dev.stamp  ## Run installs against a real API server, built from Debian's sources (ten minutes, as root)
	@sh tests/setup/programs.sh $(TEST_PROGRAMS)
	@sh tests/setup/cluster.sh $(or $(CLUSTER),build/cluster) $(BIN)/python

test-machines: .venv/dev.stamp  ## Try everything on bare Debian machines and write docs/machines.md (an hour, as root)
	@sh tests/setup/programs.sh $(TEST_PROGRAMS)
	$(BIN)/python -m tests.machines.table $(or $(MACHINES),build/machines) $(or $(SUITES),bookworm trixie sid)

test-repos: .venv/dev.stamp  ## Take ten public-style feature repos through init, lock, build and rehearse (ten minutes)
	@sh tests/setup/programs.sh $(TEST_PROGRAMS)
	$(BIN)/python -m pytest -n 1 tests/repos

check: .venv/dev.stamp  ## Run the static checks: style, types, layers, dependencies
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .

unit: .venv/dev.stamp  ## Run the tests that start no program (one minute)
	$(PYTEST) tests/unit

integration: .venv/dev.stamp  ## Run the tests with real programs, end to end tests included (12 minutes)
	@sh tests/setup/programs.sh $(TEST_PROGRAMS)
	$(PYTEST) tests/integration tests/e2e

golden: .venv/dev.stamp  ## Write the golden manifests of tests/golden anew, and show what changed (5 seconds)
	$(BIN)/python -m tests.unit.manifest_cases
	@git --no-pager diff --stat -- tests/golden

format: .venv/dev.stamp  ## Format the code, and mend what can be mended
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: .venv/dev.stamp  ## Measure, beside other tools in the same run
	@sh tests/setup/programs.sh $(TEST_PROGRAMS)
	$(BIN)/python benchmarks/build.py
	$(BIN)/python benchmarks/transport.py
	$(BIN)/python benchmarks/small_images.py

lock-tools: .venv/dev.stamp  ## Resolve requirements/*.txt anew: pinned, hashed, no index named
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-annotate --quiet --output-file requirements/run.txt
	$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-annotate --quiet --constraints requirements/run.txt --output-file requirements/dev.txt

schema: .venv/dev.stamp  ## Write docs/bundle.schema.json anew
	$(BIN)/python -m bundler.model.spec_reader > docs/bundle.schema.json

feast-release: .venv/dev.stamp  ## Show what Feast VERSION has that this program does not know (its CRD from CRD=FILE, else released)
	@test -n "$(VERSION)" || { echo "Name the release: make feast-release VERSION=0.67.0"; exit 2; }
	@$(BIN)/python -m tests.support.feast_release "$(VERSION)" $(if $(CRD),--crd "$(CRD)")

clean:  ## Remove what was built here (not the user's cache)
	rm -rf .venv dist build

.venv/run.stamp: requirements/run.txt pyproject.toml
	@PYTHON="$(PYTHON)" sh tests/setup/environment.sh requirements/run.txt
	@touch $@

.venv/dev.stamp: requirements/dev.txt pyproject.toml
	@PYTHON="$(PYTHON)" sh tests/setup/environment.sh requirements/dev.txt
	@touch $@ .venv/run.stamp
