# Each target works alone on a fresh machine with Python 3.11+ and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OLDEST := .venv-oldest
export CGRO_DATA ?= $(wildcard ../shared/data)

.PHONY: quickstart test test-oldest coverage slurm-test lint clean docs tutorials reproduce-smoke reproduction

quickstart: $(VENV)/.base
	$(BIN)/cgro quickstart --out runs/quickstart --overwrite

# One thread a worker: the tests run in two processes, and their networks are tiny.
test: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest

# The same tests with the oldest torch that the package accepts, in an environment of its own; what is skipped is said at the end.
test-oldest: $(OLDEST)/.dev
	OMP_NUM_THREADS=1 $(OLDEST)/bin/python -m pytest -rs

# The share of lines and branches that the tests run; fails below the floor in pyproject.toml. About twice the time of the tests.
coverage: $(VENV)/.dev
	rm -f .coverage .coverage.*
	OMP_NUM_THREADS=1 $(BIN)/coverage run -m pytest
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

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

# The site in site/, from the tutorials' stored pages. Its environment is its own and needs no torch; warnings are errors.
docs: .venv-docs/.done
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --quiet

# Execute the tutorials, and store their pages.
tutorials: $(VENV)/.dev
	$(BIN)/python tools/tutorials.py

.venv-docs/.done: docs/requirements.txt
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/pip --disable-pip-version-check --quiet install -r docs/requirements.txt
	touch $@

$(VENV)/.base: pyproject.toml constraints.txt tools/install.sh
	sh tools/install.sh $(PYTHON) $(VENV) data
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt tools/install.sh
	sh tools/install.sh $(PYTHON) $(VENV) dev
	touch $(VENV)/.base $@

$(OLDEST)/.dev: pyproject.toml tools/oldest.txt tools/install.sh
	sh tools/install.sh $(PYTHON) $(OLDEST) dev tools/oldest.txt
	touch $@

clean:
	rm -rf $(VENV) $(OLDEST) .venv-docs site runs .pytest_cache .ruff_cache
