# twin_nodes: `make demo` shows the twin of an operating room, `make test` proves it. Both set up what they need.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCKED := --constraint constraints.txt
INSTALL := $(BIN)/python -m pip --disable-pip-version-check -qq install $(LOCKED)
BUILD := $(INSTALL) --build-constraint constraints.txt
EMBEDDED := tf2_msgs tf2_ros tf_transformations
KERNELS := $(shell grep -rl --include='*.py' njit twin_nodes)

# one thread per kernel: a second one on a shared core costs milliseconds
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1
export MKL_NUM_THREADS ?= 1
export NUMBA_NUM_THREADS ?= 1

.PHONY: all setup crtk demo test test-all lint types docs bench lock clean
.DELETE_ON_ERROR:
.NOTPARALLEL:
.SECONDEXPANSION:
.DEFAULT_GOAL := all

all: setup

setup: $(VENV)/.installed

$(VENV)/.created:
	@scripts/debian-packages build $(PYTHON)
	@echo 'creating $(VENV)'
	@$(PYTHON) -m venv $(VENV)
	@$(INSTALL) --upgrade pip
	@touch $@

$(VENV)/.wheels: requirements-ros.txt requirements.txt constraints.txt | $(VENV)/.created
	@echo 'installing ROS 2 and the libraries from wheels'
	@$(INSTALL) -r requirements-ros.txt -r requirements.txt
	@touch $@

# each folder on its own; what an earlier build left in it would travel along
$(VENV)/.embedded-%: $$(shell find embedded/$$* -type f -not -path '*/build/*' -not -path '*.egg-info/*' -not -name '*.pyc') constraints.txt | $(VENV)/.wheels
	@scripts/debian-packages build $(PYTHON)
	@echo 'building embedded/$*'
	@rm -rf embedded/$*/build embedded/$*/*.egg-info
	@$(BUILD) ./embedded/$*
	@rm -rf embedded/$*/build embedded/$*/*.egg-info
	@touch $@

$(VENV)/.package: setup.py setup.cfg pyproject.toml package.xml requirements.txt $(wildcard twin_nodes/nodes/*_node.py) | $(EMBEDDED:%=$(VENV)/.embedded-%)
	@echo 'installing twin_nodes'
	@$(BUILD) --no-deps --editable .
	@touch $@

$(VENV)/.installed: $(VENV)/.wheels $(EMBEDDED:%=$(VENV)/.embedded-%) $(VENV)/.package $(KERNELS)
	@$(BIN)/python -m twin_nodes.app.warm
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed requirements-test.txt requirements-docs.txt
	@scripts/debian-packages test $(PYTHON)
	@echo 'installing what the tests need'
	@$(BUILD) -r requirements-test.txt -r requirements-docs.txt
	@touch $@

crtk: $(VENV)/.installed $(VENV)/.embedded-crtk_msgs  # operating states and services of robots that speak CRTK

demo: $(VENV)/.installed
	$(BIN)/twin demo

test: $(VENV)/.installed-test lint types docs
	$(BIN)/python -m pytest

# torch is no requirement: its tests run where it is installed, and else say so
test-all: test
	@if $(BIN)/python -c 'import torch' 2>/dev/null; then $(BIN)/python -m pytest -m learn test/core; \
	else echo 'torch is not installed: its tests are left out; pip install twin_nodes[learn]'; fi
	$(BIN)/twin bench --quick

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-test
	$(BIN)/mypy

# the reference in it is written from the code; a warning is an error
docs: $(VENV)/.installed-test
	@$(BIN)/python -m sphinx -b html -q -W --keep-going -d build/doctrees docs build/docs
	@echo 'docs: build/docs/index.html'

bench: $(VENV)/.installed-test
	$(BIN)/twin bench

# the newest versions that everything agrees on, into constraints.txt; then `make test`
lock: | $(VENV)/.created
	@$(BIN)/python scripts/lock.py

clean:
	rm -rf $(VENV) build install log *.egg-info embedded/*/*.egg-info embedded/*/build
