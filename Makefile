# make demo     installs what the command needs into .venv and classifies the clips in demo/ with the built-in model
# make test     installs into .venv and runs the tests
# make check    lint, format and types, as CI runs them
# make style    mends what can be mended by machine
# make pictures draws docs/*.svg anew: what the commands print
# make builtin-model   trains the model inside the package anew, and measures it (75 minutes on 2 cores)

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo install test check style pictures builtin-model clean

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

# FILMED is what the test films show: a folder of pictures and videos that no training has seen.
RUN ?= builtin-model
FILMED ?= ../shared/clips

builtin-model: install
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,builtin-model]'
	$(BIN)/python scripts/builtin_model.py gather $(RUN)/pictures
	$(BIN)/videomae finetune --config camera-motion --data $(RUN)/pictures -o $(RUN)/run
	$(BIN)/python scripts/builtin_model.py pack $(RUN)/run videomae_cli/assets/camera-motion
	$(BIN)/python scripts/builtin_model.py film $(RUN)/test $(FILMED) 60 1 > $(RUN)/test.log
	$(BIN)/videomae evaluate -m videomae_cli/assets/camera-motion --data $(RUN)/test -o $(RUN)/measured --overwrite

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .coverage* *.egg-info
