# `make` lists the targets. `make demo` and `make test` set up all they need, in a fresh clone too.
# With VIRTUAL_ENV set, that environment is filled; otherwise .venv is made with $(PYTHON).

SHELL = /bin/bash
PYTHON ?= python3.11
ARGS ?=
# Shell text, expanded when a recipe runs.
VENV = "$${VIRTUAL_ENV:-.venv}"
BIN = $(VENV)/bin
STAMP = $(VENV)/.mangahue-setup
# The stamp says which checkout the environment serves, for which pyproject.toml: when either differs, setup runs again.
STATE = $$(pwd) $$(cksum < pyproject.toml)
STEP = $(MAKE) --no-print-directory
# A Debian package that is missing, when we may install one: as root, or through a sudo that asks nothing. What is installed
# already is not upgraded.
APT = sudo=; [ "$$(id -u)" = 0 ] || sudo="sudo -n"; \
	apt() { command -v apt-get >/dev/null && { [ -z "$$sudo" ] || $$sudo true 2>/dev/null; } && $$sudo apt-get update -q \
	&& $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends --no-upgrade "$$@"; }

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

setup: ## Install everything: system packages, .venv, Python packages; instant when nothing changed
	@[ "$$(cat $(STAMP) 2>/dev/null)" = "$(STATE)" ] || { $(STEP) system && $(STEP) venv && $(STEP) packages; }

demo: setup ## Colour a generated chapter at once, train on its series, and measure both, into out/demo
	$(BIN)/python jobs/demo.py --out out/demo $(ARGS)

check: setup ## Lint, format, types and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The unit tests in two processes of one thread (two of two wait for one another more than they work), then those that
# share a Ray cluster in one.
test: setup ## Run the tests; ARGS="-k shards" runs those alone
ifeq ($(strip $(ARGS)),)
	@status=0; \
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --ignore tests/end_to_end --ignore tests/faults || status=$$?; \
	$(BIN)/python -m pytest tests/end_to_end tests/faults -m "not long" --ignore tests/end_to_end/test_variants.py || status=$$?; \
	exit $$status
else
	$(BIN)/python -m pytest $(ARGS)
endif

test-variants: setup ## Every variant through training, a killed worker, a rerun and colouring
	$(BIN)/python -m pytest tests/end_to_end/test_variants.py $(ARGS)

fuzz: setup ## Mutated archives and documents through the readers, then mutated libraries through the job, 10,000 each; ARGS="--chapters 500"
	FUZZ_EXAMPLES=10000 $(BIN)/python -m pytest tests/datasets/test_mutated.py -o timeout=0
	$(BIN)/python -m tests.fuzz $(ARGS)

faults: setup ## The long form of the faults: the commit log in any order of events; processes killed at random moments, 20 times of each kind; ARGS="--only driver"
	$(BIN)/python -m pytest tests/faults -m long
	$(BIN)/python -m tests.log_machine --store disk
	$(BIN)/python -m tests.log_machine --store memory
	$(BIN)/python -m tests.log_machine --store bucket --steps 2000
	$(BIN)/python -m tests.log_machine --mutant each
	$(BIN)/python -m tests.faults.kills $(ARGS)

bench: setup ## Run the benchmarks, into build/bench
	$(BIN)/python -m benchmarks.bench $(ARGS)

s3: setup ## Serve a local S3 bucket, for jobs run by hand
	$(BIN)/python -m tests.s3_server $(ARGS)

clean: ## Remove what was built: out/, build/ and the caches; .venv stays
	rm -rf out build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find jobs models imaging datasets tests benchmarks pretraining -type d -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# The steps of setup.

# What archives need (libarchive, unar), and the tests beside it (7-Zip, to make archives; a browser).
system:
	@missing=(); \
	ldconfig -p 2>/dev/null | grep -q libarchive.so.13 || missing+=(libarchive13); \
	command -v unar >/dev/null || missing+=(unar); \
	command -v 7z >/dev/null || missing+=(p7zip-full); \
	[ -x /usr/bin/chromium ] || missing+=(chromium); \
	[ $${#missing[@]} = 0 ] || { $(APT); apt "$${missing[@]}"; } \
	|| echo "setup: could not install $${missing[*]}: apt-get install $${missing[*]}, as root (RAR, 7z and some tests need them)" >&2

venv:
	@if [ -n "$$VIRTUAL_ENV" ]; then \
	  [ -x $(BIN)/python ] || { echo "setup: VIRTUAL_ENV=$$VIRTUAL_ENV holds no bin/python: make it, or unset VIRTUAL_ENV" >&2; exit 1; }; \
	elif ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	  $(PYTHON) -c "import venv, ensurepip" 2>/dev/null || { [ "$(PYTHON)" = python3.11 ] && { $(APT); apt python3.11 python3.11-venv; }; } \
	  || { echo "setup: $(PYTHON) cannot make an environment: apt-get install python3.11 python3.11-venv, or make PYTHON=... (3.11 or newer)" >&2; exit 1; }; \
	  $(PYTHON) -m venv --clear .venv; \
	fi

packages:
	$(BIN)/python -m pip install -e '.[dev]'
	@echo "$(STATE)" > $(STAMP)

.PHONY: help setup demo check test test-variants fuzz faults bench s3 clean system venv packages
