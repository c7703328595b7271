# One vocabulary for people and for CI:  make book   make test   make check   make format   make bench   make mutants   make clean
# A fresh clone needs only Python >= 3.11, make and git; `make check` needs npm and Chromium as well.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV        ?= .venv
PYTHON      ?= $(VENV)/bin/python
HOST_PYTHON ?=
JOBS        ?= 2
BOOK_CONFIG ?= _config.yml
PYTEST_ARGS ?=
BENCH_ARGS  ?=

STAMP   := $(VENV)/.installed
LEDGER  := build/ledger.json
BUILT   := build/book.stamp
HTML    := _build/html
AXE     := tests/browser/node_modules/axe-core/axe.min.js
SOURCES := $(shell find symtheory tests -name '*.py' -not -path '*/node_modules/*') conftest.py
PAGES   := $(shell find book -type f -not -name '.*') _toc.yml references.bib

# The kernel `python3` is the one of this environment, whatever kernels the user has installed elsewhere.
export JUPYTER_PREFER_ENV_PATH := 1
unexport JUPYTER_PATH

.PHONY: help env test book check lint types browser axe format bench deep mutants clean

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | awk -F'\t' '{ printf "  make %-9s %s\n", $$1, $$2 }'

env: $(STAMP) ## the environment in .venv (again only if pyproject.toml or constraints.txt changed)

# The first interpreter that runs, is new enough and can make environments. (A name on the PATH may be a shim that does not run.)
$(STAMP): pyproject.toml constraints.txt
	@host=''; \
	for candidate in $(or $(HOST_PYTHON),python3.12 python3.11 python3.13 python3 python); do \
	  if "$$candidate" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' > /dev/null 2>&1; then host="$$candidate"; break; fi; \
	done; \
	if [ -z "$$host" ]; then \
	  echo 'symtheory needs Python 3.11 or newer with its venv module, and found none.' >&2; \
	  echo 'Install one, or name it: make env HOST_PYTHON=/path/to/python3.11' >&2; exit 1; \
	fi; \
	if ! $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' > /dev/null 2>&1; then \
	  echo "making $(VENV) with $$("$$host" --version)"; "$$host" -m venv --clear $(VENV); \
	fi
	$(PYTHON) -m pip install --disable-pip-version-check --quiet -c constraints.txt -e ".[bench,book,data,distributed,dev]"
	@touch $@

# Tests run in $(JOBS) processes with one thread each. Every run records which claims were tested and how it went.
test: $(STAMP) ## the whole test suite, except the tests that need a browser
	@mkdir -p build
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -m "not browser" -n $(JOBS) --ledger $(LEDGER) $(PYTEST_ARGS) || { rm -f $(LEDGER); exit 1; }

$(LEDGER): $(STAMP) $(SOURCES)
	@mkdir -p build
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -m claim -q -n $(JOBS) --ledger $@

book: $(BUILT) ## record the checks of the claims, run every chapter, build _build/html

# --all: a page that did not change is still run again, because the library under it may have changed.
$(BUILT): $(STAMP) $(LEDGER) $(SOURCES) $(PAGES) $(BOOK_CONFIG)
	PATH="$(abspath $(VENV))/bin:$$PATH" SYMTHEORY_LEDGER="$(abspath $(LEDGER))" \
	  $(VENV)/bin/jupyter-book build . --all -n -W --keep-going --config $(BOOK_CONFIG)
	@touch $@

lint: $(STAMP)
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .

types: $(STAMP)
	$(PYTHON) -m pyright

axe: $(AXE)

$(AXE): tests/browser/package.json tests/browser/package-lock.json
	@command -v npm > /dev/null || { echo 'the browser tests need npm (Node.js), for axe-core' >&2; exit 1; }
	npm ci --prefix tests/browser --ignore-scripts --no-audit --no-fund
	@touch $@

browser: $(STAMP) $(AXE) $(BUILT)
	SYMTHEORY_REQUIRE_BROWSER=1 $(PYTHON) -m pytest -m browser tests/browser $(PYTEST_ARGS)

# In this order, also under `make -j`: the test run leaves the record that the book shows.
check: ## format, lint, types, tests, book, and the book in a browser (needs npm and Chromium)
	$(MAKE) lint
	$(MAKE) types
	$(MAKE) test
	$(MAKE) book
	$(MAKE) browser

format: $(STAMP) ## put the code in order
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

bench: $(STAMP) ## the benchmarks
	$(PYTHON) -m benchmarks $(BENCH_ARGS)

deep: $(STAMP) ## the laws of the claims on fifty times as many instances, drawn anew each time; hours
	HYPOTHESIS_PROFILE=deep OMP_NUM_THREADS=1 $(PYTHON) -m pytest -m claim -n $(JOBS) --dist worksteal -o addopts="-ra --strict-markers" $(PYTEST_ARGS)

mutants: $(STAMP) ## break the library in the places listed in CONTRIBUTING.md; every break has to be caught
	$(PYTHON) -m tests.mutation

clean: ## remove what was built (the environment stays; remove .venv by hand)
	rm -rf build dist _build .pytest_cache .ruff_cache .hypothesis tests/browser/node_modules
	find symtheory tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
