PYTHON ?= python3.11
BIN := .venv/bin
PEERS ?= runs/peers-environment
export OMP_NUM_THREADS = 1
export MKL_NUM_THREADS = 1
export OPENBLAS_NUM_THREADS = 1
unexport PYTHONDONTWRITEBYTECODE   # without bytecode every Python that starts compiles the packages again: seconds each
SHARED := --dist loadfile --no-loadscope-reorder

.PHONY: demo report test check style types trust external live bench peers verdicts notebooks docs clean

demo: .venv/ready          # one small run, trained and analysed in about a minute: runs/quick/report.html
	$(BIN)/interp demo --quick

report: .venv/ready        # the two demo runs and runs/demo/report.html
	$(BIN)/interp demo --out runs/demo

# style, then every test at small counts (notebooks but the first are executed by `make docs`); layers are checked beside them and told after them
test: .venv/ready style
	@told=$$(mktemp); $(BIN)/lint-imports > $$told 2>&1 & checks=$$!; \
	echo "$(BIN)/python -m pytest -q -n 2 $(SHARED) -m 'not notebook'  (lint-imports beside it)"; \
	$(BIN)/python -m pytest -q -n 2 $(SHARED) -m 'not notebook'; tests=$$?; \
	wait $$checks; layers=$$?; cat $$told; rm -f $$told; \
	test $$tests -eq 0 -a $$layers -eq 0

check: .venv/ready style types

style: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/ready         # the type checker over all three packages, and the layers
	$(BIN)/pyright
	$(BIN)/lint-imports

trust: .venv/ready         # the tests that have full counts (kills, simulations, hostile inputs), at those; runs/trust/trust.md
	rm -rf runs/trust
	ALGOSCOPE_FULL=1 $(BIN)/python -m pytest -q -n 2 $(SHARED) --timeout 14400 \
		-o addopts="--import-mode=importlib --strict-markers" tests/trust $$(grep -rl --include='test_*.py' --exclude-dir=trust ALGOSCOPE_FULL tests)

# models and truths made elsewhere: ALGOSCOPE_DATA names their folder, ALGOSCOPE_LM that of a pretrained language model's weights
# (540 MB, SmolLM2-135M), ALGOSCOPE_EAP_IG a clone of EAP-IG, `make peers` installs the other peers; what is not there is skipped by name
external: .venv/ready
	ALGOSCOPE_FULL=1 ALGOSCOPE_PEERS=$(PEERS) $(BIN)/python -m pytest -q -n 2 $(SHARED) -rs tests/external tests/peers tests/interp/importers/test_hop_models.py \
		tests/interp/heads/test_growth.py tests/tasks/test_khop.py tests/tasks/test_program.py tests/interp/test_program_lengths.py

live: .venv/live           # the live view in a real JupyterLab and a real marimo, in Chromium
	$(BIN)/python -m pytest -q -rs tests/live

bench: .venv/ready         # ratios to named peers, one process and one thread each; runs/bench/bench.md
	$(BIN)/python -m tests.bench.table
	$(BIN)/python -m tests.bench.page

# packages that `make bench` compares with, each by itself in a folder, and an environment of their own for those that `make external`
# compares with on identical weights: what they pin is theirs, torch and the rest are those of .venv
peers: .venv/ready
	$(BIN)/pip install --quiet --no-deps --upgrade --target runs/peers devinterp==2.0.1
	$(BIN)/python -m venv $(PEERS)
	$(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" \
		> $$($(PEERS)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/shared.pth
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r tests/peers/environment.txt

verdicts: .venv/ready      # what is said of planted truths: adds replicates to the kept counts, writes their tables
	$(BIN)/python -m interp.calibration.counts
	$(BIN)/python -m interp.calibration.tables
	$(BIN)/python -m interp.calibration.circuits

docs: .venv/docs           # the reference site, from what is on disk: docs/_build/html/index.html
	$(BIN)/python docs/_ext/execute.py
	$(BIN)/sphinx-build -q -W --keep-going -b html -d docs/_build/doctrees docs docs/_build/html
	$(BIN)/python docs/_ext/links.py
	@echo "open docs/_build/html/index.html"

notebooks: .venv/ready     # a full-size executed copy of each notebook as HTML, under notebooks/html
	$(BIN)/jupyter nbconvert --execute --to html --output-dir notebooks/html notebooks/*.ipynb

.venv/ready: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "make: no $(PYTHON) here; install Python 3.11 or say make PYTHON=/path/to/python3.11"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11, 5))' || { echo "make: the pinned packages need Python 3.11.5 or later; say make PYTHON=/path/to/one"; exit 2; }
	$(PYTHON) -m venv .venv
	@echo "installing the pinned packages into .venv (one to three minutes) ..."
	$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

.venv/docs: .venv/ready
	@echo "installing the pinned packages of the site into .venv ..."
	$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@

.venv/live: .venv/ready
	@echo "installing JupyterLab and marimo into .venv ..."
	$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check -c constraints.txt -e '.[live]'
	@touch $@

clean:
	rm -rf .venv runs notebooks/html docs/_build docs/generated .pytest_cache .ruff_cache .hypothesis
