# Each target works alone on a fresh clone; `make` lists them. All that is needed: Python 3.11+, make and git.

export PYTHON ?= python3

VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
RUN = $(if $(RELEASE),.releases/$(RELEASE),$(VENV))/bin/twelvefold
SERVERS := $(PY) -m tests.servers run --
COMPILE = $(VENV)/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --quiet \
	--custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)

# What `make lock` writes; `make audit` reads each.
LOCKS := requirements.txt requirements-runtime.txt \
	$(addsuffix /requirements.txt,$(addprefix tests/conformance/,python litellm semantic_kernel))

# By another name: a line that says MAKE is carried out by `make -n`, too, which a release must not be.
SELF := $(MAKE)
RUNS ?= ../shared/taubench/recorded
DOMAIN ?= retail
FAULTS ?=
LIMIT ?=
API ?=
VIA ?=
RELEASE ?=
LANES ?=
SEEDS ?= 0-9999
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help init build test test-page test-all conformance run web worker release tear-down check check-ci audit docs reference factors lock replay crash chaos abuse simulate bench bench-service

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

init: $(READY) ## .venv from the lock, every package by its hash
$(READY): requirements.txt pyproject.toml tools/init
	@tools/init
	@touch $@

build: $(READY) ## wheel, sdist and SBOM into dist/, and an image where there is docker or podman
	@tools/build

test: $(READY) ## all tests but the slow, on DATABASE_URL or a private MariaDB (ARGS="-k seat -x")
	$(SERVERS) $(PY) -m pytest -n 2 --dist loadfile $(ARGS)

test-page: $(READY) ## the page in a real browser, which it installs on Debian (PICTURES=docs/images)
	$(PY) -m pytest -m browser tests/acceptance/page $(ARGS)

test-all: $(READY) ## and the slow ones: every recording, MySQL 9, kills, a real model, conformance
	$(SERVERS) $(PY) -m pytest -m "" $(ARGS)

conformance: $(READY) ## the service with real clients, Python's and Node's, which it installs (needs Node 20)
	$(SERVERS) $(PY) -m pytest -m "" tests/conformance $(ARGS)

run: $(READY) ## a chat on the embedded database; without a terminal, a sample conversation (RELEASE=0.1.0: of that release)
	@$(if $(RELEASE),tools/place $(RELEASE) && export RELEASE_ID=v$(RELEASE) &&) \
	if [ -t 0 ]; then exec $(RUN) chat; else exec $(RUN) chat --sample; fi

web: $(READY) ## the API and the page at http://127.0.0.1:8000, on DATABASE_URL or the embedded database
	@exec $(VENV)/bin/twelvefold web $(ARGS)

worker: $(READY) ## drive background runs and send mail, on DATABASE_URL or the embedded database
	@exec $(VENV)/bin/twelvefold worker $(ARGS)

release: $(READY) ## the next version of the commits: check, test, changelog, tag, build, ledger (PUSH=1 pushes)
	@MAKE="$(SELF)" tools/release

tear-down: ## stop the private MariaDB, remove all that was made here (FORCE=1: twelvefold.db too)
	@$(PYTHON) -B -m tests.servers wipe
	@git worktree prune 2>/dev/null || true
	rm -rf $(VENV) .releases dist site .coverage .coverage.* htmlcov .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -prune -exec rm -rf {} +
	@if [ -e twelvefold.db ]; then \
		answer=n; \
		if [ "$(FORCE)" = 1 ]; then answer=y; \
		elif [ -t 0 ]; then printf 'Remove twelvefold.db, your embedded database? [y/N] '; read -r answer; \
		else echo "twelvefold.db is kept; FORCE=1 removes it"; fi; \
		case $$answer in [yY]*) rm -f twelvefold.db twelvefold.db-* ;; esac; \
	fi

check: $(READY) ## format, lint, types, import contracts, every branch of core and engine
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(VENV)/bin/hadolint Dockerfile
	$(VENV)/bin/lint-imports --no-logo
	$(PY) -m pytest -q --cov --cov-report=term tests/core tests/engine

factors: build ## the twelve factors, tried on the wheel of this checkout (ARGS="VI IX --json")
	@rm -rf dist/.release && $(PY) -m zipfile -e dist/twelvefold-*.whl dist/.release
	@PYTHONPATH="$(CURDIR)/dist/.release" $(SERVERS) $(PY) -P -m twelvefold factors $(ARGS)

docs: $(READY) ## the site into site/, every broken link an error; and run the commands of every page
	@rm -rf site
	$(VENV)/bin/sphinx-build --quiet --nitpicky --fail-on-warning --keep-going \
		--doctree-dir $(VENV)/doctrees --fresh-env docs site
	@! grep -rE '(src|<link [^>]*href)="https?://' site --include='*.html' || { echo "a page asks another server"; exit 1; }
	$(PY) -m pytest -n 2 -m pages tests/docs $(ARGS)

reference: $(READY) ## write the pages of docs/reference/ that come from the code
	$(PY) -m tools.reference

check-ci: $(READY) ## workflows, compose.yaml, Procfile, systemd units and shell, each by a tool, and the workflow beside .ci/run
	@tools/check-ci
	@$(PY) -m tests.ci.dry_run
	$(PY) -m pytest -q tests/ci

audit: $(READY) ## known vulnerabilities of what the locks name, asked of PyPI and npm (ARGS="--ignore-vuln ID")
	$(VENV)/bin/pip-audit --disable-pip --require-hashes $(LOCKS:%=--requirement %) $(ARGS)
	npm audit --package-lock-only --prefix tests/conformance/node

lock: $(READY) ## resolve the dependencies again (UPGRADE=1: to the newest)
	$(COMPILE) --group dev --output-file requirements.txt pyproject.toml
	$(COMPILE) --constraint requirements.txt --output-file requirements-runtime.txt pyproject.toml
	$(COMPILE) --output-file tests/conformance/python/requirements.txt tests/conformance/python/requirements.in
	$(COMPILE) --output-file tests/conformance/litellm/requirements.txt tests/conformance/litellm/requirements.in
	$(COMPILE) --output-file tests/conformance/semantic_kernel/requirements.txt tests/conformance/semantic_kernel/requirements.in

replay: $(READY) ## recorded conversations through the engine (RUNS DOMAIN FAULTS LIMIT API VIA=http LANES DATABASE_URL)
	$(SERVERS) $(PY) -m tests.acceptance.replay --runs "$(RUNS)" --domain "$(DOMAIN)" \
		$(if $(FAULTS),--faults "$(FAULTS)") $(if $(LIMIT),--limit "$(LIMIT)") $(if $(API),--api "$(API)") \
		$(if $(VIA),--via "$(VIA)") $(if $(LANES),--lanes "$(LANES)") $(ARGS)

crash: $(READY) ## kill real processes at every journal boundary; nothing lost, nothing doubled
	$(SERVERS) $(PY) -m tests.acceptance.crash $(ARGS)

chaos: $(READY) ## real workers under a full disk, late commits, a killed MariaDB and more (ARGS="commit-late disk-full --seed 1")
	$(PY) -m tests.acceptance.chaos $(ARGS)

abuse: $(READY) ## what one tenant notices of an abusive one: latency, errors, memory (ARGS="large-thread --each 8 --together 0")
	$(SERVERS) $(PY) -m tests.acceptance.abuse $(ARGS)

simulate: $(READY) ## processes, database and services on virtual time, with faults of seeds (SEEDS=0-9999 ARGS="--shrink")
	$(PY) -m tests.simulation --seeds "$(SEEDS)" $(ARGS)

bench: $(READY) ## runs a second, latency, memory, beside loops without durability
	$(SERVERS) $(PY) -m bench $(ARGS)

bench-service: $(READY) ## the service: time to ready, empty requests, turns over HTTP beside turns without
	$(SERVERS) $(PY) -m bench.service $(ARGS)
