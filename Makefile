# Two commands matter: `make demo` and `make test`. Both set up what they need first.
.DEFAULT_GOAL := help
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
STAMP := .venv/.setup-done
UV := uv==0.13.9
ROOT ?= lakesight-demo

.PHONY: help setup demo test check bench lock clean

help: ## Show this help
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Create .venv with the locked dependencies, find Java (about 3 minutes, 7 GB; then nothing)
	@scripts/java
	-@$(BIN)/lakesight setup spark >/dev/null

$(STAMP): requirements.lock pyproject.toml setup.py
	@test -n "$(PYTHON)" || { echo "error: Python 3.11 is needed (Debian, Ubuntu: apt-get install python3 python3-venv)" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' || { echo "error: Python 3.11 or 3.12 is needed, $(PYTHON) is another; set PYTHON=" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check "$(UV)"
	# Compiled now, once: imports are half of what a short run costs.
	$(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

demo: setup ## The whole path on generated data (2 to 4 minutes; again: half of one)
	@$(BIN)/lakesight demo --root $(ROOT)

test: setup ## All tests, two files at a time; real-image tests run where LAKESIGHT_TEST_DATA names the data
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

check: setup ## Format, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup ## Side-by-side benchmarks against named peers
	$(BIN)/python -m benchmarks

lock: $(STAMP) ## Resolve requirements.lock anew from pyproject.toml
	$(BIN)/uv pip compile --quiet --python-version 3.11 --extra dev --generate-hashes --no-emit-index-url --upgrade pyproject.toml --output-file requirements.lock

clean: ## Remove the environment and caches (no data)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build *.egg-info
