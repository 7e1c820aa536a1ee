# `make quick`, `make demo` and `make test` do all the set-up on a fresh machine; Python 3.11 or newer is all they need.
PYTHON ?= python3
BIN := .venv/bin
UV := $(shell command -v uv)
PIP := $(if $(UV),$(UV) pip install --python $(BIN)/python,$(BIN)/python -m pip install --disable-pip-version-check) --quiet

.PHONY: quick demo test test-all check bench endure install clean

# With all extras: nnU-Net's package, the tools of tests and checks.
install: .venv/installed-all

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11 ...") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) --requirement requirements.lock
	$(PIP) --no-deps --editable .
	touch $@

.venv/installed-all: .venv/installed requirements-all.lock
	$(PIP) --requirement requirements-all.lock
	touch $@

# A dozen of the demonstration's cells, for those who only look; `demo` goes on from there.
quick: .venv/installed
	$(BIN)/bench run --grid table2 --only self_supervision=none,shared_layers=3,5,4-5-6 \
		--only fusion_weight=0.5,shared_layers=3,5,4-5-6
	$(BIN)/bench report page --source both
	@echo "Open results/reports/html/index.html in a browser. Table and figures as files: results/reports/html/files/table2"
	@echo "Then: make demo   (the other cells of Table 2), or, on your own data:"
	@echo "      $(BIN)/bench data check autopet=/data/AutoPET"

demo: .venv/installed
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
