# Two commands for a newcomer: `make table1` and `make test`. Neither needs root, Java or a GPU.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Python 3.11 reads and writes the paths of editable packages by the locale: C's knows no accent.
ifeq ($(shell locale charmap),ANSI_X3.4-1968)
export LC_ALL := C.UTF-8
endif

# Snakemake and pip keep caches in a home that can be written; else they lie beside what they serve.
ifneq ($(shell test -w "$${XDG_CACHE_HOME:-$$HOME}" && echo yes),yes)
export XDG_CACHE_HOME := $(CURDIR)/$(VENV)/cache
endif

.PHONY: setup table1 test test-all audit adopt publish clean

setup: $(VENV)/.ready

# Everything is pinned in requirements.lock. On Linux without a GPU, the CPU build of torch saves gigabytes:
# see docs/data.md.
$(VENV)/.ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "captionrl needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

# FLAGS: options of snakemake that end with its targets' `--`, such as FLAGS="--config seeds=[1] --"
table1: setup
	$(BIN)/snakemake $(FLAGS) results/table1.csv
	@cat results/mini/hrl/table1.md
	@$(BIN)/captionrl compare results/mini/hrl/table1.csv docs/results/mini/hrl/table1.csv
	@$(BIN)/python workflow/scripts/seconds.py work/benchmark

THREADS ?= 1
test: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/mypy
	OMP_NUM_THREADS=$(THREADS) $(BIN)/pytest -n logical --dist loadfile

test-all: setup
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "slow or not slow"

# Known holes of what requirements.lock pins, by the database that PyPI serves (docs/security.md).
audit:
	$(PYTHON) -m venv $(VENV)/audit
	$(VENV)/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1
	$(VENV)/audit/bin/pip-audit --strict --no-deps --disable-pip --requirement requirements.lock

# After `git clone`, `dvc checkout` or `dvc exp apply`: pull what was pushed, and have Snakemake take it for its own.
# SCALE=laptop, SCALE=paper: the files of that folder's dvc.lock instead of those of dvc.lock.
adopt: SCALE = mini
adopt: DVC = $(if $(filter mini,$(SCALE)),,$(SCALE)/)dvc
adopt: STAGES = $(shell sed -n 's/^  \([a-z0-9_-]*\):$$/\1/p' $(DVC).lock)
adopt: setup
	@test -e $(DVC).lock || { echo "adopt: there is no $(DVC).lock, so nothing was pushed; run dvc repro $(DVC).yaml" >&2; exit 1; }
	$(BIN)/dvc pull --allow-missing $(DVC).yaml
	@ls -d work/*/segments results/$(SCALE)/*/metrics.json 2> /dev/null | grep -q . || { \
	  echo "adopt: nothing was pulled; check the remote: dvc remote list" >&2; exit 1; }
	@plan=$$($(BIN)/dvc repro --dry --allow-missing $(STAGES:%=$(DVC).yaml:%)) && ! echo "$$plan" | grep "^Running" || { \
	  echo "adopt: code or parameters are not those of $(DVC).lock; run dvc repro $(DVC).yaml" >&2; exit 1; }
	$(BIN)/snakemake --touch --forceall --config scale=$(SCALE) -- $(STAGES)
	$(if $(filter hrl,$(STAGES)),$(BIN)/snakemake --allowed-rules copy_table --config scale=$(SCALE) -- \
	  $$(ls results/$(SCALE)/hrl/table[12].csv | sed 's|results/$(SCALE)/hrl/|results/|'))

# Copy a scale's tables and figures into git, after looking at them: of the mini scale, or SCALE=laptop.
publish: SCALE = mini
publish: setup
	$(BIN)/snakemake --config scale=$(SCALE) -- all
	$(BIN)/captionrl publish --results results/$(SCALE) --out docs/results/$(SCALE)

# What the mini scale made, and the copies in results/; states, logs and what other scales made stay.
clean:
	rm -rf data/*-mini work/*-mini checkpoints/*-mini results/table*.csv results/mini
