# The two commands that a newcomer needs are `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PEERS := .venv-peers
PACKAGES := eye_gaze_data saliency pretrain diagnosis experiments

.PHONY: install demo test test-all check bench docs clean

install: $(VENV)/.stamp

# The stamp is newer than pyproject.toml when the environment holds what it asks for.
$(VENV)/.stamp: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev,dicom,docs,export]"
	touch $@

demo: install
	$(BIN)/gazedx run demo --out runs/demo

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check
	$(BIN)/pytest -m "not slow" -n 2

test-all: check
	$(BIN)/pytest

# Peers that cannot live in our environment get their own.
$(PEERS)/.stamp: Makefile
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check \
		"numpy<2.4" opencv-python-headless pysaliency setuptools
	touch $@

bench: install $(PEERS)/.stamp
	$(BIN)/python -m benchmarks

docs: install
	$(BIN)/sphinx-build -W -q -b html docs docs/_build

clean:
	rm -rf $(VENV) $(PEERS) runs build docs/_build docs/api *.egg-info
