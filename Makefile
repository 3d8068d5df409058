# Every target sets up what it needs: Python >= 3.11 with venv, make and git are enough.
# Logic lives in Python; a target is a line.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.stamp

# make demo KEEP=1        leaves the servers running
# make demo ENGINE=vllm   takes real vLLM (CPU build, tiny model) in place of the simulator
KEEP ?=
ENGINE ?= sim

# make e2e ARGS="e2e/cluster/test_rbac.py -x"   some of the scenarios, with flags of pytest
# make e2e NODE=1        pods are containers of the images that the working tree builds, under a kubelet
ARGS ?=
NODE ?=

# make train DATA=directory: data sets as docs/predictor.md describes them
# make train TIER1=no        the fast tier alone, in seconds
DATA ?= predictor/sample
TIER1 ?= yes

.PHONY: help setup fmt check test test-train demo e2e images e2e-vllm train compare crds bench lock clean

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

setup: $(STAMP) ## Make .venv with everything locked in requirements/dev.txt

$(STAMP): requirements/dev.txt pyproject.toml tools/bootstrap.py
	@command -v $(PYTHON) > /dev/null || { echo "setup: $(PYTHON) is missing; on Debian or Ubuntu: apt-get install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) tools/bootstrap.py

fmt: $(STAMP) ## Format, and fix what can be fixed
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

check: $(STAMP) ## Lint, types, import contracts, architecture tests
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/architecture

test: $(STAMP) ## Unit, property and integration tests
	$(BIN)/pytest -q -n 2

demo: $(STAMP) ## Gateway, two engines, a bursty load: KEEP=1 leaves them up, ENGINE=vllm is real vLLM
ifeq ($(ENGINE),vllm)
	vllm=$$($(BIN)/python tools/vllm_env.py) && $(BIN)/alise demo --vllm "$$vllm" $(if $(KEEP),--keep)
else
	$(BIN)/alise demo $(if $(KEEP),--keep)
endif

e2e: $(STAMP) ## The chart on a real Kubernetes API server: KUBECONFIG=file takes a cluster of yours
	$(BIN)/python tools/cluster_tests.py $(if $(NODE),--node) $(ARGS)

images: $(STAMP) ## Build the container images of the working tree into build/images, and tell their sizes
	$(BIN)/python tools/images.py

e2e-vllm: $(STAMP) ## Two real vLLM servers behind the gateway, one killed mid-run
	$(BIN)/python tools/vllm_env.py > /dev/null
	$(BIN)/pytest e2e/vllm -p no:cacheprovider

test-train: $(STAMP) ## Tests of what needs torch, in the training environment
	python=$$($(BIN)/python tools/train_env.py) && OMP_NUM_THREADS=1 PYTHONPATH=core:predictor:engine \
		"$$python" -m pytest -q -p no:cacheprovider tests/predictor_train tests/engine_torch

train: $(STAMP) ## Train the predictor: make train DATA=directory (without: the committed sample)
	python=$$($(BIN)/python tools/train_env.py) && ranks=$$($(BIN)/python tools/train_env.py --ranks) \
		&& PYTHONPATH=core:predictor "$$python" -m alise_cli predictor train \
		--data "$(DATA)" --ranks "$$ranks" --out build/predictor --cache build/predictor/cache \
		$(if $(filter no,$(TIER1)),--no-tier1)

compare: $(STAMP) ## All ways to predict on one data set directory: make compare DATA=directory [JSON=1]
	python=$$($(BIN)/python tools/train_env.py) && PYTHONPATH=core:predictor "$$python" -m alise_cli \
		predictor evaluate --all --data "$(DATA)" --cache build/predictor/cache \
		--out build/predictor/report $(if $(JSON),--json)

crds: $(STAMP) ## Write the chart's CRDs and docs/crds.md anew from the models
	$(BIN)/alise crds --chart charts/alise/templates/crds
	$(BIN)/alise crds --docs > docs/crds.md

bench: $(STAMP) ## Measure what the gateway adds to a request
	$(BIN)/alise bench overhead

# The official Kubernetes client reads kubeconfig files and tokenizers' hub client downloads: 150 MB for what does not
# happen in a pod.
NOT_IN_IMAGES := $(addprefix --no-emit-package ,kubernetes aiohttp-retry durationpy oauthlib python-dateutil \
	requests-oauthlib websocket-client huggingface-hub filelock fsspec hf-xet httpcore2 httpx2 tqdm truststore)
LOCKED := --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet

lock: ## Compile requirements/*.txt anew from pyproject.toml
	@test -x .venv-lock/bin/uv || { $(PYTHON) -m venv .venv-lock && .venv-lock/bin/pip install -q uv; }
	.venv-lock/bin/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
		--generate-hashes --no-header --no-annotate --quiet -o requirements/dev.txt
	.venv-lock/bin/uv pip compile pyproject.toml --extra train --universal --python-version 3.11 \
		--generate-hashes --no-header --no-annotate --quiet | $(PYTHON) tools/lock_train.py \
		> requirements/train.txt
	.venv-lock/bin/uv pip compile pyproject.toml --extra gateway --extra kubernetes --extra otel \
		-c requirements/dev.txt $(LOCKED) $(NOT_IN_IMAGES) -o requirements/gateway.txt
	.venv-lock/bin/uv pip compile pyproject.toml --extra operator \
		-c requirements/dev.txt $(LOCKED) $(NOT_IN_IMAGES) -o requirements/operator.txt
	echo 'hatchling>=1.27' | .venv-lock/bin/uv pip compile - -c requirements/dev.txt $(LOCKED) \
		-o requirements/build.txt

clean: ## Remove .venv, caches and build output
	rm -rf .venv .venv-lock .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache \
		.coverage .coverage.* htmlcov dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
