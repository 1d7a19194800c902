# One front door. `make bundle` and `make test` set up everything they need.

CONFIG ?= examples/driver-stats/bundle.yaml
OUTPUT ?= dist
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help bundle test unit integration check format bench lock-tools clean

help:  ## Say what each target does
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

bundle: $(VENV)/.run .system-bundle  ## Build the bundle of CONFIG (default: the example) into OUTPUT
	$(BIN)/bundler build --file $(CONFIG) --output $(OUTPUT)

test: $(VENV)/.dev .system-test check  ## Run every check and every test
	$(BIN)/python -m pytest -n 2 --dist loadgroup --cov --cov-report=term

clean:  ## Remove what was built (not the cache)
	rm -rf $(VENV) dist build
