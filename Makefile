# make demo     installs what the command needs into .venv and classifies the clips in demo/ with the built-in model
# make test     installs into .venv and runs the tests
# make check    lint, format and types, as CI runs them
# make style    mends what can be mended by machine
# make pictures draws docs/*.svg anew: what the commands print

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo install test check style pictures clean

demo: $(VENV)/runtime
	$(BIN)/videomae classify demo -m camera-motion

$(VENV)/runtime: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(VENV)/runtime $@

test: install
	$(BIN)/python -m pytest -n 2 --cov --cov-report=term:skip-covered

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

style: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

pictures: install
	$(BIN)/python scripts/pictures.py

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .coverage* *.egg-info
