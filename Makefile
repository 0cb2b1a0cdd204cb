# `make help` lists what there is.
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
ENGINE ?=
SECONDS ?= 60

UV_COMPILE = "$$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
	$(if $(UPGRADE),--upgrade)

.DEFAULT_GOAL := help
.PHONY: help setup demo test check ruff types imports format reference screens lock bench clean \
	demo-real test-real soak mutants fuzz chaos audit

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:  ## make .venv from the locks, where it is not up to date
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Python 3.11 or newer is needed, and \`$(PYTHON)\` is older or not there: name one with \`make PYTHON=…\`." >&2; exit 2; }
	@$(PYTHON) tools/environment.py

demo: setup  ## the whole service with a simulated engine, in under a minute
	@$(BIN)/overnight demo $(ARGS)

demo-real: setup  ## as demo, with a real engine on the CPU (ENGINE=vllm, llamacpp …)
	@$(BIN)/python -m tools.engines demo $(ENGINE)

# Four at a time on whatever there is: the tests with processes mostly wait.
test: setup  ## all tests, official SDKs included (ARGS="-k word" picks some)
	@$(BIN)/python -m tests.sdk.prepare
	@$(BIN)/python -m pytest -n 4 $(ARGS)

test-real: setup  ## before a real engine, killed half-way (ENGINE=vllm, … or all)
	@$(BIN)/python -m tools.engines test $(ENGINE)

soak: setup  ## simulated machines that crash in every way (SECONDS=600, as long as you like)
	@$(BIN)/python -m tests.simulation --seconds $(SECONDS) $(ARGS)

chaos: setup  ## real processes, really killed and frozen (SECONDS=3600, ARGS="--only kills")
	@$(BIN)/python -m tests.chaos $(if $(filter command line,$(origin SECONDS)),--seconds $(SECONDS)) $(ARGS)

fuzz: setup  ## bytes made up until they break a rule (SECONDS=600 for each of the parsers)
	@$(BIN)/python -m tests.fuzz --seconds $(SECONDS)

mutants: setup  ## break what keeps data safe, line by line, and see that soak would notice
	@$(BIN)/python -m tests.simulation.mutants

check: ruff types imports test  ## what CI runs: style, types, layers, all tests

ruff: setup
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .

types: setup
	@$(BIN)/mypy --no-error-summary

imports: setup
	@$(BIN)/lint-imports --no-logo

format: setup  ## put the code into its one format
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format --quiet .

reference: setup  ## write docs/reference and the generated parts of pages anew
	@$(BIN)/python -m tools.reference

screens: setup  ## record the commands and draw them into docs/images
	@$(BIN)/python -m tools.screens $(ARGS)

lock:  ## pin what pyproject.toml and tests/sdk/*.in name (UPGRADE=1 to the newest)
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && uv="$$folder/bin/uv" && \
	$(PYTHON) -m venv "$$folder" && "$$folder/bin/pip" install --quiet uv && \
	$(UV_COMPILE) pyproject.toml -o requirements.lock && \
	$(UV_COMPILE) pyproject.toml --group dev -c requirements.lock -o requirements-dev.lock && \
	cd tests/sdk && for name in *.in; do $(UV_COMPILE) "$$name" -o "$${name%.in}.lock" || exit 1; done

audit: setup  ## ask whether anything we pin has known holes (ends with 69 where nobody knows)
	@$(BIN)/python -m tools.audit

bench: setup  ## what a request costs, against bare and common clients
	@$(BIN)/python -m bench $(ARGS)

clean:  ## remove .venv, caches and what was built
	@rm -rf .venv .venv.making .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis \
		.import_linter_cache build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
