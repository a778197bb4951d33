# Every target first makes .venv with exactly what requirements.lock pins; a second call finds it done.
# PYTHON chooses the interpreter (3.11 or newer): make test PYTHON=/path/to/python3.12

NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
    $$name -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$name && break; done)
VENV := .venv
RUN := $(VENV)/bin/python
# One stamp per content of the two files and place of the clone: a changed lock, or a moved folder, installs again.
KEY := $(shell { cat requirements.lock pyproject.toml; pwd; } | cksum | cut -d ' ' -f 1)
INSTALLED := $(VENV)/.installed-$(KEY)

# Where this is set, every process compiles PyTorch's thousands of modules anew, for ten seconds.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: book test chaos lab lint clean help

book: $(INSTALLED)  ## compute the quick study on real CIFAR-10 and build the book in build/
	@$(RUN) -m efcnlab.cli book

# By whole files, so that what the tests of one file share is made once. A worker needs about 2 GB.
test: lint  ## lint, then run every test, on up to four cores
	@$(RUN) -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

chaos: $(INSTALLED)  ## kill and damage studies for about 40 minutes, run the promises' tests, record it for the book
	@$(RUN) tests/chaos.py --record

lab: $(INSTALLED)  ## open the notebooks in JupyterLab
	@$(RUN) -m jupyter lab notebooks

lint: $(INSTALLED)  ## check style and format, notebooks included
	@$(RUN) -m ruff check --quiet
	@$(RUN) -m ruff format --check --quiet

clean:  ## remove .venv, the book and its executed notebooks; computed runs and downloaded images stay
	rm -rf $(VENV) build book/executed

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile

# The stamp is the last thing written: whatever interrupts the installation, the next call does it again.
$(INSTALLED): requirements.lock pyproject.toml
	@rm -f $(VENV)/.installed-*
	@$(RUN) -c '$(NEW_ENOUGH)' 2>/dev/null || "$(PYTHON)" -c '$(NEW_ENOUGH)' 2>/dev/null || { \
	    echo "efcnlib needs Python 3.11 or newer; found $(or $(PYTHON),none): try make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(RUN) -c '$(NEW_ENOUGH)' 2>/dev/null || "$(PYTHON)" -m venv --clear $(VENV)
	@$(VENV)/bin/uv --version >/dev/null 2>&1 || $(RUN) -m pip install --quiet --disable-pip-version-check uv
	@echo "installing what requirements.lock pins into $(VENV) (a few minutes the first time)"
	@VIRTUAL_ENV=$(VENV) $(VENV)/bin/uv pip sync requirements.lock
	@VIRTUAL_ENV=$(VENV) $(VENV)/bin/uv pip install --quiet --no-deps --editable .
	@touch $@
