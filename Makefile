# Needs Python 3.11 or newer, git and make; every target sets itself up in .venv first.
# Another interpreter: make clean test PYTHON=python3.12
# A CPU-only Linux machine is spared CUDA's gigabytes by PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu

PYTHON ?= python3
PY := .venv/bin/python
READY := .venv/.ready

# Numbers are compared as they were made: offline, on one thread (more than one spin-wait for each other on a
# busy machine), without the lines on stderr that differ from run to run. The same as in notebooks/conftest.py.
STILL := unset V2DROP_MODEL V2DROP_METHODS; export HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 TQDM_DISABLE=1 TRANSFORMERS_VERBOSITY=error;

# Two processes take one file after the other, tests and notebooks alike. Each holds about 1 GB, a notebook's kernel too.
TWO := --numprocesses=2 --dist=loadfile

.DEFAULT_GOAL := help
.PHONY: help report lab test lint bench notebooks clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

# A model on its way to many cores must not be held to one thread, only kept from spinning.
report: $(READY) ## run every notebook and write reports/index.html; V2DROP_MODEL=<folder or hub id> for a real model
	OMP_WAIT_POLICY=passive $(PY) -m analysis.report

test: lint ## lint, tests with doctests, and every number in the notebooks
	$(STILL) $(PY) -m pytest $(TWO)
	$(STILL) $(PY) -m pytest $(TWO) --nbval --nbval-current-env --nbval-cell-timeout=300 notebooks

lint: $(READY) ## ruff, code and notebooks
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

bench: $(READY) ## speed against what a user would write, as ratios within one run: some ten minutes
	OMP_WAIT_POLICY=passive HF_HUB_OFFLINE=1 $(PY) -m tests.bench

lab: $(READY) ## JupyterLab on the notebooks; V2DROP_MODEL=<folder or hub id> for a real model
	OMP_WAIT_POLICY=passive $(PY) -m jupyterlab --notebook-dir=notebooks

notebooks: $(READY) ## run the committed notebooks again, in place
	$(STILL) $(PY) -m nbconvert --to notebook --execute --inplace \
	  --ExecutePreprocessor.record_timing=False notebooks/*.ipynb
	$(PY) -m analysis.report.normal_form notebooks/*.ipynb
	$(PY) -m analysis.report.overview

clean: ## remove the environment, SmolLM2, the reports and the caches
	rm -rf .venv data/smollm2 data/smollm2-* reports build *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is removed first and written last: whatever breaks in between, the next make does it all again.
# torch and the torchvision that belongs to it go in before the rest, so that nothing else chooses other builds of them.
# An index may have no torchvision that was built for its torch; torchvision_ops mends that for all programs of .venv.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: Python 3.11 or newer is needed; '$(PYTHON)' is not. Try: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' || { \
	  echo "make: '$(PYTHON)' comes without venv. On Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@rm -f $@
	$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	$(PY) -m pip install --quiet $$(grep -E '^torch(vision)?==' constraints.txt)
	$(PY) -m pip install --quiet --constraint constraints.txt --editable '.[all]'
	@$(PY) -m v2drop.models.torchvision_ops
	@$(PY) -m analysis.models.checkpoints.smollm2 || true
	@touch $@
