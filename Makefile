# Each target works alone on a fresh machine with Python 3.11+ and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export CGRO_DATA ?= $(wildcard ../shared/data)

.PHONY: quickstart test slurm-test lint clean reproduce-smoke reproduction

quickstart: $(VENV)/.base
	$(BIN)/cgro quickstart --out runs/quickstart --overwrite

# One thread a worker: the tests run in two processes, and their networks are tiny.
test: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest

# A sweep on a Slurm of one node; Debian: apt-get install --no-install-recommends slurm-wlm munge. Part of `make test`.
slurm-test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 0 -m slurm -rs tests/slurm

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

# Every table and figure at the smallest scale; `make test` runs it too, as a test.
reproduce-smoke: $(VENV)/.base
	$(BIN)/cgro reproduce all --scale smoke --out runs/reproduce-smoke

# docs/reproduction.md from results/SCALE/ARTIFACT.
reproduction: $(VENV)/.base
	$(BIN)/python -m cgro.experiments.document results docs/reproduction.md

$(VENV)/.base: pyproject.toml constraints.txt tools/install.sh
	sh tools/install.sh $(PYTHON) $(VENV) data
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt tools/install.sh
	sh tools/install.sh $(PYTHON) $(VENV) dev
	touch $(VENV)/.base $@

clean:
	rm -rf $(VENV) runs .pytest_cache .ruff_cache
