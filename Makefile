# The two commands that matter are `make book` and `make test`; `make help` lists the rest.
#
# Everything is installed into .venv from requirements.txt by pip, which keeps its own settings: so
# on a machine without a GPU
#     PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make book
# takes PyTorch's CPU build, which is far smaller than the default one.

VENV ?= .venv
PYTHON ?= $(shell command -v python3.11 || command -v python3 || command -v python)
WORKERS ?= 2
PORT ?= 8000
PYTEST_ARGS ?=
BIN := $(VENV)/bin
STAMP := $(VENV)/installed-from

# The tests run in $(WORKERS) processes; one thread in each is faster than threads that compete.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help install book lab pdf record test test-slow site-test lint speed serve lock clean clean-all

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | expand -t 12
	@echo "Variables: PYTHON=...  WORKERS=2  PORT=8000  PYTEST_ARGS='-k metric'"
	@echo "EPSUTIL_DATA, EPSUTIL_CACHE, EPSUTIL_RESULTS are passed on (see README.md)."

# Nothing is done where the stamp equals the lock, the project file and the place, and the
# environment's interpreter still starts. The stamp is written last, so an interrupted installation
# is taken up again.
install:  ## the environment in .venv, from the lock
	@want="$$(pwd; cat requirements.txt pyproject.toml)"; \
	if [ "$$want" = "$$(cat $(STAMP) 2>/dev/null)" ] && $(BIN)/python -c '' 2>/dev/null; then exit 0; fi; \
	set -e; \
	if [ -z "$(PYTHON)" ]; then echo "No Python found; install Python 3.11 or newer, or run make PYTHON=/path/to/python3.11" >&2; exit 1; fi; \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "{} is Python {}.{}; 3.11 or newer is needed: run make PYTHON=/path/to/python3.11".format(sys.executable, *sys.version_info[:2]))'; \
	rm -f $(STAMP); \
	echo "Installing requirements.txt into $(VENV) (a few minutes the first time) ..."; \
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || \
		{ echo "$(PYTHON) cannot make a virtual environment (on Debian and Ubuntu: install python3-venv)" >&2; exit 1; }; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .; \
	printf '%s\n' "$$want" > $(STAMP).part; \
	mv $(STAMP).part $(STAMP)

book: install  ## recompute what the data at hand allows, build the site into _build/html
	@$(BIN)/epsutil book
	@echo "The book: file://$(CURDIR)/_build/html/index.html"

lab: install  ## the notebooks in JupyterLab, where text cells show formulas and citations
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "jupyterlab>=4" "jupyterlab-myst>=2"
	@$(BIN)/python -m jupyterlab --notebook-dir notebooks

pdf: install  ## the book as last built as one PDF, _build/epsilon-reproduced.pdf; needs Chromium
	@test -f _build/html/index.html || { echo "No site in _build/html; run make book first" >&2; exit 1; }
	@$(BIN)/epsutil pdf

record: install  ## execute all pages anew and keep them and their scores in data/
	@$(BIN)/epsutil record

test: install  ## the test suite
	@$(ONE_THREAD) $(BIN)/python -m pytest -n $(WORKERS) -m "not slow and not site" $(PYTEST_ARGS)

test-slow: install  ## what takes longer, and more random examples
	@EPSUTIL_TESTS=thorough $(ONE_THREAD) $(BIN)/python -m pytest -n $(WORKERS) -m "slow or sweep" $(PYTEST_ARGS)

site-test: install  ## the built site in headless Chromium; fails where either is missing
	@EPSUTIL_SITE_REQUIRED=1 $(BIN)/python -m pytest -m site $(PYTEST_ARGS)

lint: install  ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/mypy

speed: install  ## measure the targets for time, memory and agreement
	@$(BIN)/python tests/speed.py

serve:  ## the built site on localhost
	@test -f _build/html/index.html || { echo "No site in _build/html; run make book first" >&2; exit 1; }
	@$(BIN)/python -m http.server --bind 127.0.0.1 --directory _build/html $(PORT)

# torch's local version (+cpu) is dropped, so that each machine takes the build it can use.
lock: install  ## resolve pyproject.toml and requirements.in into requirements.txt
	@$(BIN)/python -m pip install --quiet pip-tools
	@CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/python -m piptools compile --quiet --upgrade --extra book --extra test \
		--strip-extras --allow-unsafe --no-emit-options --annotation-style=line \
		--output-file requirements.txt pyproject.toml requirements.in
	@sed -E 's/^(torch==[0-9.]+)\+[a-z0-9]+/\1/; /^(nvidia-|cuda-|triton)/d' requirements.txt > requirements.txt.part
	@mv requirements.txt.part requirements.txt

clean:  ## remove what was built
	rm -rf _build .pytest_cache .mypy_cache .ruff_cache .hypothesis

clean-all: clean  ## remove the environment too
	rm -rf $(VENV) *.egg-info
