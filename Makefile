# Each target works on a fresh clone; `make` lists them. Requirements: Python 3.11+, make and git.

export PYTHON ?= python3

# The tests start many processes, and each would compile every module again.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
RUN = $(if $(RELEASE),.releases/$(RELEASE),$(VENV))/bin/twelvefold
SERVERS := $(PY) -m tests.servers run --
COMPILE = $(VENV)/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --quiet \
	--custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)

# Written by `make lock`, read by `make audit`.
LOCKS := requirements.txt requirements-runtime.txt \
	$(addsuffix /requirements.txt,$(addprefix tests/conformance/,python litellm semantic_kernel))

# Under another name, because `make -n` executes lines that contain $(MAKE), and a release must not run then.
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
.PHONY: help init build test test-page test-all conformance run web worker release tear-down check check-ci audit docs reference factors lock replay crash chaos soak abuse simulate bench

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

init: $(READY) ## create .venv from the lock file, with package hashes checked
$(READY): requirements.txt pyproject.toml tools/init
	@tools/init
	@touch $@

build: $(READY) ## build wheel, sdist and SBOM into dist/, and an image if docker or podman is available
	@tools/build

test: $(READY) ## run all but the slow tests, on DATABASE_URL or a private MariaDB (ARGS="-k seat -x")
	$(SERVERS) $(PY) -m pytest -n 2 --dist loadfile $(ARGS)

test-page: $(READY) ## test the page in a browser, which is installed on Debian (PICTURES=docs/images)
	$(PY) -m pytest -m browser tests/acceptance/page $(ARGS)

test-all: $(READY) ## run all tests, with the slow ones: every recording, MySQL 9, kills, a real model, conformance
	$(SERVERS) $(PY) -m pytest -m "" $(ARGS)

conformance: $(READY) ## test the service with Python and Node clients, which are installed (needs Node 20)
	$(SERVERS) $(PY) -m pytest -m "" tests/conformance $(ARGS)

run: $(READY) ## chat on the embedded database; without a terminal, a sample conversation (RELEASE=0.1.0 runs that release)
	@$(if $(RELEASE),tools/place $(RELEASE) && export RELEASE_ID=v$(RELEASE) &&) \
	if [ -t 0 ]; then exec $(RUN) chat; else exec $(RUN) chat --sample; fi

web: $(READY) ## serve the API and the page at http://127.0.0.1:8000, on DATABASE_URL or the embedded database
	@exec $(VENV)/bin/twelvefold web $(ARGS)

worker: $(READY) ## drive background runs and send mail, on DATABASE_URL or the embedded database
	@exec $(VENV)/bin/twelvefold worker $(ARGS)

release: $(READY) ## release the next version: check, test, changelog, tag, build, ledger (PUSH=1 pushes)
	@MAKE="$(SELF)" tools/release

tear-down: ## stop the private MariaDB and remove all generated files (FORCE=1: twelvefold.db too)
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

check: $(READY) ## check format, lint, types, import contracts, and branch coverage of core and engine
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(PY) -m basedpyright
	$(VENV)/bin/hadolint Dockerfile
	$(VENV)/bin/lint-imports --no-logo
	$(PY) -m pytest -q --cov --cov-report=term tests/core tests/engine

factors: build ## check the twelve factors with the wheel of this checkout (ARGS="VI IX --json")
	@rm -rf dist/.release && $(PY) -m zipfile -e dist/twelvefold-*.whl dist/.release
	@PYTHONPATH="$(CURDIR)/dist/.release" $(SERVERS) $(PY) -P -m twelvefold factors $(ARGS)

docs: $(READY) ## build the site into site/, with broken links as errors, and run the commands of every page
	@rm -rf site
	$(VENV)/bin/sphinx-build --quiet --nitpicky --fail-on-warning --keep-going \
		--doctree-dir $(VENV)/doctrees --fresh-env docs site
	@! grep -rE '(src|<link [^>]*href)="https?://' site --include='*.html' || { echo "a page loads a resource from another server"; exit 1; }
	$(PY) -m pytest -n 2 -m pages tests/docs $(ARGS)

reference: $(READY) ## generate the pages of docs/reference/ that come from the code
	$(PY) -m tools.reference
	$(PY) -m tools.openapi.document

check-ci: $(READY) ## lint workflows, compose.yaml, Procfile, systemd units and shell; compare the workflow with .ci/run
	@tools/check-ci
	@$(PY) -m tests.ci.dry_run
	$(PY) -m pytest -q tests/ci

audit: $(READY) ## look up known vulnerabilities of the locked packages at PyPI and npm (ARGS="--ignore-vuln ID")
	$(VENV)/bin/pip-audit --disable-pip --require-hashes $(LOCKS:%=--requirement %) $(ARGS)
	npm audit --package-lock-only --prefix tests/conformance/node

lock: $(READY) ## resolve the dependencies again (UPGRADE=1: newest versions)
	$(COMPILE) --group dev --all-extras --output-file requirements.txt pyproject.toml
	$(COMPILE) --extra otel --extra rabbitmq --constraint requirements.txt --output-file requirements-runtime.txt pyproject.toml
	$(COMPILE) --output-file tests/conformance/python/requirements.txt tests/conformance/python/requirements.in
	$(COMPILE) --output-file tests/conformance/litellm/requirements.txt tests/conformance/litellm/requirements.in
	$(COMPILE) --output-file tests/conformance/semantic_kernel/requirements.txt tests/conformance/semantic_kernel/requirements.in

replay: $(READY) ## replay recorded conversations (RUNS DOMAIN FAULTS LIMIT API VIA=http LANES DATABASE_URL)
	$(SERVERS) $(PY) -m tests.acceptance.replay --runs "$(RUNS)" --domain "$(DOMAIN)" \
		$(if $(FAULTS),--faults "$(FAULTS)") $(if $(LIMIT),--limit "$(LIMIT)") $(if $(API),--api "$(API)") \
		$(if $(VIA),--via "$(VIA)") $(if $(LANES),--lanes "$(LANES)") $(ARGS)

crash: $(READY) ## kill real processes at every journal boundary; check that nothing is lost or done twice
	$(SERVERS) $(PY) -m tests.acceptance.crash $(ARGS)

chaos: $(READY) ## break processes, database, network, model and mail under 200 runs each (ARGS="connections-cut --runs 50")
	$(PY) -m tests.acceptance.chaos $(ARGS)

soak: $(READY) ## drive 10,000 runs; check that memory, descriptors and connections stay flat (ARGS="--runs 1000 --plot soak.svg")
	$(PY) -m tests.acceptance.chaos.soak $(ARGS)

abuse: $(READY) ## measure the effect of an abusive tenant on another: latency, errors, memory (ARGS="large-thread --each 8 --together 0")
	$(SERVERS) $(PY) -m tests.acceptance.abuse $(ARGS)

simulate: $(READY) ## simulate processes, database and services in virtual time, with seeded faults (SEEDS=0-9999 ARGS="--shrink")
	$(PY) -m tests.simulation --seeds "$(SEEDS)" $(ARGS)

bench: $(READY) ## measure Twelvefold beside loops without durability (ARGS="--quick --against COMMIT --write")
	$(SERVERS) $(PY) -m bench $(ARGS)
