# All but `make browser` stays in .venv, made on first use from a package index. `make test` and `make demo`
# need nothing else but Python >= 3.11.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed

PYTEST := $(BIN)/python -m pytest --numprocesses logical --dist worksteal

.PHONY: help test test-full browser demo docs check lint format types bench release clean

help:  ## this list
	@sed -nE 's/^([a-z-]+):.*  ## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

# Tests that look at reports in a browser are skipped where there is no Chromium, and say so.
test: $(STAMP)  ## the test suite, doctests and README included; of products of options all pairs
	$(PYTEST)

test-full: $(STAMP)  ## the same with whole products of options, as in CI
	$(PYTEST) --full

browser:  ## Chromium for these tests, from the packages of Debian, for the whole machine; needs its root
	@sh tests/report/install_chromium.sh

demo: $(STAMP)  ## cross-entropy against ISDA on real images, three seeds each
	$(BIN)/semaug compare digits_resnet8 digits_resnet8_isda --seeds 3

# Warnings are errors, such as a link that leads nowhere or a public name without a page.
docs: $(STAMP)  ## the documentation as a site that needs no network: build/site/index.html
	rm -rf build/source build/site
	mkdir -p build/source
	$(BIN)/python -m sphinx --jobs auto --quiet --fail-on-warning --keep-going -c docs build/source build/site

check: lint types test  ## the whole gate: format, lint, types, tests

lint: $(STAMP)  ## format and lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/zizmor --offline --quiet .github

format: $(STAMP)  ## repair format and imports
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: $(STAMP)  ## types
	$(BIN)/mypy

# Not the studies, benchmarks/study_*.py: these time nothing, and need CIFAR or a trained network.
bench: $(STAMP)  ## timings; wants a quiet machine, takes three quarters of an hour
	$(BIN)/python benchmarks/bench_isda.py
	$(BIN)/python benchmarks/bench_ait.py
	$(BIN)/python benchmarks/bench_precision.py
	$(BIN)/python benchmarks/bench_scale.py
	$(BIN)/python benchmarks/bench_ranks.py
	$(BIN)/python benchmarks/bench_allocator.py
	$(BIN)/python benchmarks/bench_start.py
	$(BIN)/python -m pip install --quiet --editable ".[bench]"
	$(BIN)/python benchmarks/bench_augment.py
	$(BIN)/python benchmarks/bench_loader.py --record
	$(BIN)/python benchmarks/bench_training.py

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

# Needs a package index for an empty environment with torch.
release: $(STAMP)  ## sdist and wheel in dist, checked, and README's snippets run with the wheel
	PYTHON=$(BIN)/python .ci/release

clean:  ## remove the environment, caches and the site
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache
