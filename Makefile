# Thin: pip, microsite and tox do the work. Everything is installed again when a lock file changed.

PYTHON ?= python3
BIN = .venv/bin
COMPILE = $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --python-version 3.11
LOCKS = requirements/run.txt requirements/test.txt requirements/tox.txt pyproject.toml package-lock.json

.PHONY: run test lock

run: .venv/run
	$(BIN)/microsite serve

test: .venv/tox
	$(BIN)/tox run

# Writes the lock files anew from pyproject.toml and package.json, with versions and hashes and no index address.
lock: .venv/bin/python
	$(BIN)/pip install --quiet uv
	$(COMPILE) pyproject.toml -o requirements/run.txt
	$(COMPILE) pyproject.toml --group test -o requirements/test.txt
	$(COMPILE) --group tox -o requirements/tox.txt
	rm -f requirements/lowest.txt
	$(COMPILE) --resolution lowest-direct pyproject.toml -o requirements/floor.txt
	$(COMPILE) pyproject.toml --group test -c requirements/floor.txt -o requirements/lowest.txt
	rm requirements/floor.txt
	npm install --package-lock-only --omit-lockfile-registry-resolved

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Microsite needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv .venv

.venv/run: .venv/bin/python $(LOCKS)
	$(BIN)/pip install --quiet --require-hashes -r requirements/run.txt
	$(BIN)/pip install --quiet --no-deps -e .
	touch $@

.venv/tox: .venv/bin/python $(LOCKS)
	$(BIN)/pip install --quiet --require-hashes -r requirements/tox.txt
	touch $@
