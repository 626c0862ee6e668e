# `make` sets up .venv and regenerates every table and figure; `make help` lists the rest.
PYTHON ?= python3
CORES ?= all
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
SNAKEMAKE := PATH="$$PWD/$(BIN):$$PATH" snakemake
PYTEST := PATH="$$PWD/$(BIN):$$PATH" python -m pytest --numprocesses auto --dist worksteal

.DEFAULT_GOAL := run
.PHONY: run complexity zoo test test-all test-conda test-slurm test-faults test-inputs test-gpu lint format docs config-docs clean help

$(VENV)/ready: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "lwdna needs Python 3.11 or newer, but $(PYTHON) is older; run 'make PYTHON=python3.12', say."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) -r requirements.txt
	$(PIP) --no-deps --editable .
	@touch $@

$(VENV)/ready-dev: $(VENV)/ready requirements-dev.txt
	$(PIP) -r requirements-dev.txt
	@touch $@

$(VENV)/ready-docs: $(VENV)/ready requirements-docs.txt
	$(PIP) -r requirements-docs.txt
	@touch $@

run: $(VENV)/ready ## Set up, run the whole pipeline on config.yaml, write the report.
	$(SNAKEMAKE) --cores $(CORES) $(ARGS)
	@[ ! -e results/report.html ] || echo 'Done: results/report.html, results/tables/, results/figures/'

complexity: $(VENV)/ready ## Shrink every LW-DNA network of the paper again: results/complexity/.
	$(SNAKEMAKE) --cores $(CORES) --configfile config/complexity.yaml $(ARGS) -- complexity_columns
	@echo 'Done: results/complexity/table1.md, table2.md, table3.md'

zoo: complexity ## Write the channels of these networks to lwdna/zoo/.
	$(BIN)/lwdna zoo --write results/complexity/networks

test: $(VENV)/ready-dev lint ## Set up, check and test everything, including a tiny end-to-end run.
	$(PYTEST) $(ARGS)

test-all: $(VENV)/ready-dev ## Test with every network of torchvision; a quarter of an hour more, 16 GB.
	LWDNA_TEST_ALL=1 $(PYTEST) $(ARGS)

test-conda: $(VENV)/ready-dev ## Test with the whole pipeline in an environment of conda, without a conda.
	LWDNA_TEST_CONDA=1 $(PYTEST) tests/conda $(ARGS)

test-slurm: $(VENV)/ready-dev ## Test the profile for SLURM on a real one, brought up here; needs root.
	LWDNA_TEST_SLURM=1 $(PYTEST) --numprocesses 0 tests/slurm $(ARGS)

test-faults: $(VENV)/ready-dev ## Break a hundred runs in many ways and compare the products; half an hour.
	$(BIN)/python tests/faults/driver.py --runs 100 --jobs 2 $(ARGS)

test-inputs: $(VENV)/ready-dev ## Try every wrong input of every key and option that there is a rule for.
	LWDNA_TEST_INPUTS=1 $(PYTEST) tests/inputs $(ARGS)

test-gpu: ## Test training, search and shrinkage on a GPU; LWDNA_TEST_DEVICE=cpu proves the tests.
	@python=$(BIN)/python; [ -x "$$python" ] || python=$(PYTHON); set -x; \
	  $$python -m pytest tests/gpu $(ARGS)

lint: $(VENV)/ready-dev ## Check style, types and the workflow.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile rules workflow/Snakefile
	$(SNAKEMAKE) --lint

format: $(VENV)/ready-dev ## Format the code.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile rules workflow/Snakefile

docs: $(VENV)/ready-docs ## Build the site of the documentation with a reference: build/site/README.html.
	$(BIN)/python -m sphinx --quiet --fail-on-warning -b html -c docs/site . build/site
	@echo 'Done: build/site/README.html'

config-docs: $(VENV)/ready ## Write config/README.md, the reference of the configuration, anew.
	$(BIN)/python docs/config_readme.py

clean: ## Remove results (asks first) but not the environment.
	@printf 'Remove results/, checkpoints included? [y/N] '; read -r answer; \
	  [ "$$answer" = y ] && rm -rf results || echo 'Nothing removed.'

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
