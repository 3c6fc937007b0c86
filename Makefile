# The two commands that a newcomer needs are `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := eye_gaze_data saliency pretrain diagnosis experiments

.PHONY: install demo test test-all check bench clean

install: $(VENV)/.stamp

# The stamp is newer than pyproject.toml when the environment holds what it asks for.
$(VENV)/.stamp: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev,dicom,export]"
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

bench: install
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.density
	$(BIN)/python -m benchmarks.store
	$(BIN)/python -m benchmarks.memory
	$(BIN)/python -m benchmarks.inference

clean:
	rm -rf $(VENV) runs build *.egg-info
