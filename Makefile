# Thin: pip, microsite and tox do the work. Everything is installed again when a lock file changed.

PYTHON ?= python3
BIN = .venv/bin
# A lock names everything that is installed, so nothing is resolved: a newer release in the index changes nothing.
INSTALL = $(BIN)/pip install --quiet --no-deps
UV = uv==0.13.9
COMPILE = $(BIN)/uv pip compile --quiet $(UPGRADE) --universal --python-version 3.11 --fork-strategy fewest \
	--generate-hashes --no-strip-extras --no-header --no-annotate
LOCKS = requirements/run.txt requirements/test.txt requirements/tox.txt pyproject.toml package-lock.json

.PHONY: run test lock

run: .venv/run
	$(BIN)/microsite serve

test: .venv/tox
	$(BIN)/tox run

# Writes the lock files anew from pyproject.toml and package.json, with versions and hashes and no index address.
# Versions stay as they are where they still fit; `make lock UPGRADE=--upgrade` takes the newest.
lock: .venv/bin/python
	$(BIN)/pip install --quiet $(UV)
	$(COMPILE) pyproject.toml -o requirements/run.txt
	$(COMPILE) pyproject.toml --group test -c requirements/run.txt -o requirements/test.txt
	$(COMPILE) --group tox -c requirements/test.txt -o requirements/tox.txt
	$(COMPILE) --resolution lowest-direct pyproject.toml -o requirements/floor.txt
	$(COMPILE) pyproject.toml --group test -c requirements/floor.txt -o requirements/lowest.txt
	rm requirements/floor.txt
	{ echo "# requirements/run.txt without its hashes, for platforms: \`make lock\` writes it."; \
	  sed -n 's/ \\$$//; /^[a-z]/p' requirements/run.txt; echo .; } > requirements.txt
	npm install --package-lock-only --omit-lockfile-registry-resolved

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Microsite needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv .venv

.venv/run: .venv/bin/python $(LOCKS)
	$(INSTALL) --require-hashes -r requirements/run.txt
	$(INSTALL) -e .
	$(BIN)/pip check
	touch $@

.venv/tox: .venv/bin/python $(LOCKS)
	$(INSTALL) --require-hashes -r requirements/tox.txt
	touch $@
