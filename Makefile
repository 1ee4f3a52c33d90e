PYTHON ?= python3.11
BIN := .venv/bin
export OMP_NUM_THREADS = 1
export MKL_NUM_THREADS = 1
export OPENBLAS_NUM_THREADS = 1

.PHONY: report test check trust bench notebooks clean

report: .venv/ready        # the two demo runs and runs/demo/report.html
	$(BIN)/interp demo --out runs/demo

test: .venv/ready check    # style, types, layers, then every test at small counts
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

check: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

trust: .venv/ready         # the tests at full counts (kills, simulations, hostile inputs): hours; runs/trust/trust.md
	ALGOSCOPE_FULL=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile --timeout 14400

bench: .venv/ready         # ratios to named peers, one process and one thread each; runs/bench/bench.md
	$(BIN)/python -m interp.bench.table
	$(BIN)/python -m interp.bench.linear
	$(BIN)/python -m interp.bench.single_index
	$(BIN)/python -m interp.bench.planted
	$(BIN)/python -m interp.bench.circuits
	$(BIN)/python -m interp.bench.ties

notebooks: .venv/ready     # a full-size executed copy of each notebook as HTML, under notebooks/html
	$(BIN)/jupyter nbconvert --execute --to html --output-dir notebooks/html notebooks/*.ipynb

.venv/ready: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "make: no $(PYTHON) here; install Python 3.11 or say make PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv .venv
	@echo "installing the pinned packages into .venv (one to three minutes) ..."
	$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

clean:
	rm -rf .venv runs notebooks/html .pytest_cache .ruff_cache .hypothesis
