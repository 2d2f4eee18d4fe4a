# Two commands for a newcomer: `make table1` and `make test`. Neither needs root, Java or a GPU.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup table1 test test-all publish clean

setup: $(VENV)/.ready

# Everything is pinned in requirements.lock. On Linux without a GPU, the CPU build of torch saves gigabytes:
# see the README.
$(VENV)/.ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "captionrl needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

table1: setup
	$(BIN)/snakemake results/table1.csv
	@cat results/mini/hrl/table1.md

test: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest

test-all: setup
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "slow or not slow"

# Copy the mini scale's tables and figures into git, after looking at them.
publish: setup
	$(BIN)/snakemake all
	$(BIN)/captionrl publish --results results/mini --out docs/results/mini --readme README.md

clean:
	rm -rf data/*-mini work checkpoints results/table*.csv results/mini .snakemake
