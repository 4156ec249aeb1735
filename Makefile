# Two commands need nothing but Python, make and a package registry: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A server for the tests of models behind HTTP. Its packages do not fit linbp's.
MLSERVER := .venv-mlserver
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
CODE := src tests docs $(wildcard scripts experiments benchmarks)
# Old versions of make cannot keep the output of each check together.
TOGETHER := $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)

.DEFAULT_GOAL := help
.PHONY: help demo test lint format types docs pytest clean
.DELETE_ON_ERROR:

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/demo.stamp  ## install into .venv and audit a network on twenty photographs (four minutes); writes runs/demo/report.html
	$(BIN)/linbp audit demo:efficientnet_lite0 --data demo:imagenet --eps 4/255 --time 4m --out runs/demo

test: $(VENV)/test.stamp  ## install into .venv and run every check, on all cores (LINBP_TEST_ALL=1, as in CI: also the largest cases)
	@$(MAKE) --no-print-directory --jobs=3 $(TOGETHER) lint types docs
	@$(MAKE) --no-print-directory pytest

lint: $(VENV)/test.stamp  ## ruff: rules and layout
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)

format: $(VENV)/test.stamp  ## mend what ruff can mend, and write the catalogue of `linbp list` again
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)
	$(BIN)/python scripts/write_catalogue.py

types: $(VENV)/test.stamp  ## mypy --strict
	$(BIN)/mypy --strict src

docs: $(VENV)/test.stamp  ## build the pages into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

pytest: $(VENV)/test.stamp $(MLSERVER)/stamp  ## the tests alone: one process a core, of one thread
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/pytest -n auto --dist worksteal

clean:  ## remove .venv and everything that is made
	rm -rf $(VENV) $(MLSERVER) site build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

# A stamp is written only after its install has ended well, so an interrupted one is done again.
$(VENV)/python.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || { \
		echo "linbp needs Python 3.10 or newer; $(PYTHON) is $$($(PYTHON) --version 2>/dev/null || echo missing)." >&2; \
		echo "Name another one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 2; }
	@echo "Making $(VENV) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/demo.stamp: $(VENV)/python.stamp pyproject.toml constraints.txt
	@echo "Installing linbp with the demo's packages into $(VENV) (about 3 GB with torch; once) ..."
	@$(PIP) --editable '.[demo,report]'
	@touch $@

$(VENV)/test.stamp: $(VENV)/python.stamp pyproject.toml constraints.txt
	@echo "Installing linbp with all extras into $(VENV) (about 3 GB with torch; once) ..."
	@$(PIP) --editable '.[demo,docs,experiments,hf,http,onnx,ray,report,s3,test,tflite]'
	@touch $@ $(VENV)/demo.stamp

# MLServer says that it needs a Python older than 3.13; these versions of its packages run on newer ones.
$(MLSERVER)/stamp: $(VENV)/python.stamp tests/mlserver/constraints.txt
	@echo "Installing MLServer into $(MLSERVER) (about 400 MB; once) ..."
	@$(PYTHON) -m venv --clear $(MLSERVER)
	@$(MLSERVER)/bin/python -m pip --disable-pip-version-check install --quiet --ignore-requires-python \
		--constraint tests/mlserver/constraints.txt mlserver onnxruntime
	@touch $@
