# Everything is set up on first use in .venv; a second call reuses it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# no model hub, no account: nothing here needs either
export HF_HUB_OFFLINE ?= 1
export WANDB_MODE ?= offline
# tiny models on a machine that does other things: threads that wait should soon sleep, not spin
export GOMP_SPINCOUNT ?= 20000
# the versions that were tested together; for others: make CONSTRAINTS= …
CONSTRAINTS ?= constraints.txt
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(addprefix -c ,$(CONSTRAINTS))

.DEFAULT_GOAL := help
.PHONY: help setup demo placement-demo test test-all test-shuffled test-pythons coverage lock docs docs-test notebook faults faults-ci fuzz audit lint fmt type bench clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: $(READY) ## install into .venv (the other targets do it by themselves)

$(READY): pyproject.toml $(CONSTRAINTS)
	@echo "setting up $(VENV): a minute or two, once"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) torch==2.13.0  # first: a plain "torch" may bring gigabytes of GPU packages
	@$(PIP) -e '.[dev]'
	@touch $(READY)

demo: $(READY) ## tune, train control models, probe, compare, place adapters: minutes, offline
	@$(BIN)/python train.py experiment=demo_pretrain overwrite=true
	@$(BIN)/python train.py experiment=demo_tune overwrite=true
	@$(BIN)/python train.py experiment=demo_control_models overwrite=true
	@$(BIN)/python probe.py experiment=demo_probe overwrite=true
	@$(BIN)/python train.py experiment=demo_placed overwrite=true
	@$(BIN)/python -m taskdepth.results findings outputs/probe/demo

placement-demo: $(READY) ## after make demo: does it matter where its adapter goes? minutes
	@$(BIN)/python train.py experiment=demo_placement overwrite=true
	@$(BIN)/python -m taskdepth.results placement outputs/train/demo-placement

test: $(READY) ## the fast tests: minutes
	@$(BIN)/python -m pytest -n auto --dist loadfile

test-all: $(READY) outputs/probe/demo/findings.json ## the slow tests too
	@$(BIN)/python -m pytest -m 'slow or not slow'

outputs/probe/demo/findings.json: | $(READY) # what the documents' commands begin with
	@$(MAKE) demo

test-shuffled: $(READY) ## the fast tests five times, each in another order
	@for seed in 1 2 3 4 5; do $(BIN)/python -m pytest -n auto --dist loadfile --random-order-seed=$$seed || exit 1; done

test-pythons: ## the fast tests on every Python from 3.11 on, each in its own environment
	@for version in 3.11 3.12 3.13 3.14; do \
		command -v python$$version >/dev/null && python$$version -c '' 2>/dev/null || continue; \
		echo "python$$version"; $(MAKE) --no-print-directory test PYTHON=python$$version VENV=.venv-$$version || exit 1; \
	done

coverage: $(READY) ## which lines the fast tests run: at least 90 % of them
	@$(BIN)/python -m pytest -n auto --dist loadfile --cov=taskdepth --cov-report=term:skip-covered --cov-fail-under=90

lock: ## write down the newest versions that go together, after a look at what they break
	@$(MAKE) --no-print-directory clean setup CONSTRAINTS=
	@$(BIN)/python -m pip list --format=freeze --exclude-editable | grep -v '^pip==\|^setuptools==' | sed 's/+cpu//' > constraints.txt

docs: $(READY) ## the site with all documents, in site/: open site/index.html
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

docs-test: $(READY) outputs/probe/demo/findings.json ## run every command in README.md and docs/ (DOCUMENT=README: in one): minutes
	@$(BIN)/python -m pytest -m slow -n auto --dist load tests/integration/test_docs_commands.py $(addprefix -k ,$(DOCUMENT))

notebook: $(READY) outputs/probe/demo/findings.json ## run docs/notebooks, and store what it shows
	@$(BIN)/python docs/notebooks/run.py

faults: $(READY) ## end the commands 200 times at random points, and compare what they leave
	@$(BIN)/python tests/faults/killing.py --faults $(or $(FAULTS),200)
	@$(BIN)/python tests/faults/dying_ranks.py --deaths 9

faults-ci: $(READY) ## 20 of them, always the same ones: a minute
	@$(BIN)/python tests/faults/killing.py --faults 20

INPUTS ?= 1000000
fuzz: $(READY) ## feed INPUTS=1000000 damaged files to the readers: an hour
	@PYTHONPATH=tests $(BIN)/python tests/fuzz_readers.py --inputs $(INPUTS)

audit: $(READY) ## unsafe code, and dependencies with known flaws (the latter needs a network)
	@$(BIN)/bandit --quiet --recursive --configfile pyproject.toml src train.py probe.py
	@$(BIN)/python tests/audit.py

lint: $(READY) ## style, without changing anything
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

fmt: $(READY) ## mend style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

type: $(READY) ## types
	@$(BIN)/mypy

bench: $(READY) ## time extraction, probing, similarity and tuning beside the usual ways: long
	@$(PIP) -e '.[bench]'
	@for name in extraction probing similarity training; do $(BIN)/python -m taskdepth.bench $$name; done

clean: ## remove the environment and caches, never outputs/
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache dist site
