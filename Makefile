# twin_nodes: `make demo` shows the twin of an operating room, `make test` proves it. Both set up what they need.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
EMBEDDED := $(shell find embedded -type f \( -name '*.py' -o -name '*.msg' -o -name '*.srv' -o -name '*.toml' -o -name 'CMakeLists.txt' -o -name 'package.xml' \) -not -path '*/build/*' 2>/dev/null)

export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1
export MKL_NUM_THREADS ?= 1
export NUMBA_NUM_THREADS ?= 1

.PHONY: all setup demo test test-all lint types bench clean
.DEFAULT_GOAL := all

all: setup

setup: $(VENV)/.installed

$(VENV)/.created:
	@scripts/debian-packages build $(PYTHON)
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -c constraints.txt --upgrade pip
	@touch $@

$(VENV)/.installed: $(VENV)/.created constraints.txt setup.py $(EMBEDDED)
	@scripts/debian-packages build $(PYTHON)
	$(PIP) install -c constraints.txt -r requirements-ros.txt
	$(PIP) install -c constraints.txt -e .
	$(BIN)/python -m twin_nodes.app.warm
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed requirements-test.txt
	@scripts/debian-packages test $(PYTHON)
	$(PIP) install -c constraints.txt -r requirements-test.txt
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/twin demo

test: $(VENV)/.installed-test lint types
	$(BIN)/python -m pytest -m 'not slow'

test-all: $(VENV)/.installed-test lint types
	$(BIN)/python -m pytest

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-test
	$(BIN)/mypy

bench: $(VENV)/.installed-test
	$(BIN)/twin bench

clean:
	rm -rf $(VENV) build install log *.egg-info embedded/*/*.egg-info embedded/*/build
