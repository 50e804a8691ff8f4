# make demo: one trained model and its table, from nothing but this checkout and a package index.
# make test: the whole suite. Both work in .venv and leave the system alone.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
THREADS ?= 1

.PHONY: demo test campaign lint install dev clean

# A third of the embedded pairs: the table is there in minutes. `bench run strategy=hardest_neg` takes them all.
demo: install
	$(BIN)/bench run strategy=hardest_neg data.max_train=4000

install: $(VENV)/installed
dev: $(VENV)/installed-dev

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# torch first and by its exact version: a range would take the newest build, with gigabytes of CUDA.
$(VENV)/installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) "$$(grep '^torch==' constraints.txt)"
	$(PIP) --editable ".[cpu,offline]"
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(PIP) --editable ".[cpu,offline,usearch,peers,dev]"
	touch $@

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy benchmarks
	$(BIN)/lint-imports

# Two workers with one thread each: threads that compete for two cores make everything crawl.
test: lint
	OMP_NUM_THREADS=$(THREADS) MKL_NUM_THREADS=$(THREADS) TOKENIZERS_PARALLELISM=false \
	HF_HUB_OFFLINE=1 WANDB_MODE=offline $(BIN)/python -m pytest -n 2 --dist worksteal --durations 15

# Kills, concurrent starts and generated inputs (docs/reliability.md); CAMPAIGN=0.1 does a tenth of them.
campaign: dev
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1 WANDB_MODE=offline \
	$(BIN)/python -m pytest -m campaign -s tests/test_campaign.py

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
