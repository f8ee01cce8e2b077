# Two commands do everything on a machine that has Python ≥ 3.11, make and git:
#   make demo   simulate a built-in workload, print the table, write demo/report.html
#   make test   every check that CI makes

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: demo test lint types layers unit bench clean

demo: $(VENV)/installed
	$(BIN)/twinserve run traces/gallery/demo.yaml --out demo/record
	$(BIN)/twinserve report demo/record --out demo/report.html
	@echo "Open demo/report.html in a browser."

test: lint types layers unit

lint: $(VENV)/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/tested
	$(BIN)/mypy

layers: $(VENV)/tested
	$(BIN)/lint-imports

unit: $(VENV)/tested
	$(BIN)/python -m pytest --numprocesses 2

bench: $(VENV)/tested
	$(BIN)/python -m benchmarks.peers

$(VENV)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "TwinServe needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 …")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/installed: $(VENV)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/tested: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

clean:
	rm -rf $(VENV) demo
