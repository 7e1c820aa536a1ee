# `make demo` and `make test` do all the set-up on a fresh machine; Python 3.11 or newer is all they need.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-all check bench endure install clean

install: .venv/installed

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11 ...") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

demo: install
	$(BIN)/bench run --grid table2
	$(BIN)/bench report --grid table2 --source both

# One pass of every kind, and few repetitions; `test-all` runs the slow tests too, with full counts. By file: what a
# module builds is built once, and with the largest files first the two processes still end within seconds of one another.
test: install
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-all: install
	$(BIN)/python -m pytest -n 2 --dist loadfile --all

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install
	$(BIN)/python -W ignore -m tests.performance

endure: install
	$(BIN)/python -m tests.endurance

clean:
	rm -rf .venv build *.egg-info
