# Every target makes its own set-up: Python 3.11 to 3.13 with pip, and make, are all it needs.
# PYTHON=/path/to/python chooses the interpreter; JOBS=n the number of test processes.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.stamp
JOBS ?= 2
REFERENCES ?= ../shared/data
# Further pytest arguments for `make pytest`, and for the run against the wheel.
TESTS ?=
WHEEL_TESTS ?=

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup demo test lint types layers pytest checkout wheel bench validate calibrate schemas format lock \
	clean distclean

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1 \2/p' Makefile | \
		awk '{ printf "  %s %-10s", $$1, $$2; $$1 = $$2 = ""; print }'

setup: $(READY) ## make .venv with the locked dependencies and this checkout

$(READY): pyproject.toml requirements.lock accelsim/_version.py scripts/setup.sh
	sh scripts/setup.sh $(VENV)
	@touch $@

demo: $(READY) ## run a small design sweep; the report is written to reports/quickstart/
	$(BIN)/accelsim sweep sweeps/quickstart.yaml

# Each test runs once: against the wheel what it carries, against the checkout the rest.
test: lint types layers checkout wheel ## all checks: style, types, layers, tests of checkout and wheel

lint: $(READY) ## ruff: rules and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) ## mypy, strict on the package
	$(BIN)/mypy

layers: $(READY) ## each room imports only from the rooms below it
	$(BIN)/lint-imports

pytest: $(READY) ## all tests and doctests against the checkout; TESTS="-k name" selects
	$(BIN)/python -m pytest -n $(JOBS) $(TESTS)

checkout: $(READY) ## doctests, and the tests that the wheel cannot run, against the checkout
	$(BIN)/python -m pytest -n $(JOBS) accelsim tests/test_packaging.py
	$(BIN)/python -m pytest -n $(JOBS) -m checkout $$(grep -rl checkout tests --include='*.py')

wheel: $(READY) ## all other tests against the built wheel, installed outside it
	sh scripts/wheel.sh $(VENV) -n $(JOBS) -m "not checkout" $(WHEEL_TESTS)

bench: $(READY) ## speed of the engines, the lowering and a sweep
	$(BIN)/python -m benchmarks

validate: $(READY) ## compare with reference data and publications; rewrite reports/
	$(BIN)/accelsim validate report $(REFERENCES)
	$(BIN)/accelsim validate workloads
	$(BIN)/accelsim validate measured $(REFERENCES)/measured/ops.parquet
	$(BIN)/accelsim validate endtoend $(REFERENCES)/measured/e2e.csv.gz
	$(BIN)/accelsim reproduce --all

calibrate: $(READY) ## refit all shipped GPU scalars; rewrite arch/components/ and reports/calibration/
	$(BIN)/accelsim calibrate --shipped --data $(REFERENCES)/measured/ops.parquet
	$(BIN)/python -m accelsim.measure.collectives --data $(REFERENCES)/measured/ops.parquet \
		--write reports/calibration

schemas: $(READY) ## rewrite schemas/ from the configuration classes
	$(BIN)/accelsim schemas

format: $(READY) ## apply ruff's fixes and formatting
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: ## rewrite requirements.lock from pyproject.toml, newest versions
	sh scripts/lock.sh

clean: ## remove caches and build outputs
	rm -rf build dist .venv-bootstrap .pytest_cache .mypy_cache .ruff_cache \
		.import_linter_cache .hypothesis
	find accelsim tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## the same, and the virtual environment
	rm -rf $(VENV)
