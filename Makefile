PYTHON ?= python3.11
BIN := .venv/bin
export OMP_NUM_THREADS = 1
export MKL_NUM_THREADS = 1

.PHONY: report test check trust bench notebooks clean

report: .venv/ready
	$(BIN)/interp demo --out runs/demo

test: .venv/ready check
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

check: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

.venv/ready: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "make: no $(PYTHON) here; install Python 3.11 or say make PYTHON=/path/to/python"; exit 2; }
	$(PYTHON) -m venv .venv
	@echo "installing the pinned packages into .venv (one to three minutes) ..."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

clean:
	rm -rf .venv runs .pytest_cache .ruff_cache .hypothesis
