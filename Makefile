# Needs only make and Python >= 3.11. Everything lands in ./.venv and ./.beat.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENV  := .venv
PEERS := .venv-bench
GENERATORS := .venv-generators
BIN   := $(VENV)/bin
READY := $(VENV)/.ready
UV    := $(BIN)/.uv
ARGS  ?=
# A module's tests together, so that its servers start once; three processes, as many tests wait. `make test WORKERS=0` runs in one.
WORKERS ?= 3
DIST    ?= loadscope --no-loadscope-reorder

# Where bytecode is not kept, each of the many processes of a stack and of the tests compiles all that it imports, which is most of its time.
export PYTHONDONTWRITEBYTECODE :=

# `python3.13` may exist and not start (a version manager's shim), so each candidate is asked.
PYTHON ?= $(shell for candidate in python3.14 python3.13 python3.12 python3.11 python3 python; do \
	$$candidate -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	&& { echo $$candidate; break; }; done)

# uv does not read pip's configuration, so a mirror or a certificate that pip was given is passed on.
pip_says = $$($(BIN)/python -m pip config get ":env:.$(1)" 2>/dev/null || $(BIN)/python -m pip config get "global.$(1)" 2>/dev/null)
REGISTRY = index="$${UV_DEFAULT_INDEX:-$${UV_INDEX_URL:-$(call pip_says,index-url)}}"; \
	certificate="$${SSL_CERT_FILE:-$(call pip_says,cert)}"; \
	if [ -n "$$index" ]; then export UV_DEFAULT_INDEX="$$index"; fi; \
	if [ -f "$$certificate" ]; then export SSL_CERT_FILE="$$certificate"; fi;

.PHONY: images help run chaos chaos-ci measure bench growth visits limits beside latency notices drills events publishing traces trust restore forecast serve redirects uploads backlog pictures generators wheels notice schemas sbom audit test test-all lock lint types check format clean reset install

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: $(READY) ## start the whole stack on this machine; ARGS=... goes to `beat up`
	@$(BIN)/beat up $(ARGS)

test: $(READY) ## run the tests; ARGS="-k word" narrows, WORKERS=0 runs in one process
	@$(BIN)/python -m pytest -n $(WORKERS) --dist $(DIST) -m "not (exhaustive or slow)" $(ARGS)

test-all: $(READY) ## run them all, with all cases; ARGS='-m "exhaustive or scaled or slow"' leaves out what `make test` does as well
	@BEAT_TEST_ALL=1 $(BIN)/python -m pytest -n $(WORKERS) --dist $(DIST) $(ARGS)

check: lint types ## everything that reads the code without running it

lint: $(READY) ## style, import contracts, what platforms may touch, scenarios, migrations, the compose file, NOTICE, schemas of events, secrets
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@$(BIN)/python -m tests.platform_boundary
	@$(BIN)/python -m tests.scenarios --check
	@$(BIN)/python -m tests.migration_sql
	@$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	@$(BIN)/python -m supply.notice --check
	@$(BIN)/python -m supply.schemas --check
	@$(BIN)/python -m supply.secrets

images: $(READY) ## refuse images that are not named by digest; a release sets the variables that docker-compose.yml lists
	@$(BIN)/python -m tests.images

types: $(READY) ## mypy --strict
	@$(BIN)/mypy

chaos: $(READY) ## break the engine in every way of the matrix, 20 seeds; some hours; continues where it was stopped
	@mkdir -p .beat && $(BIN)/beat chaos --seeds 20 --jobs 2 --keep .beat/chaos.jsonl --table docs/reliability.md $(ARGS)

chaos-ci: $(READY) ## the selection of it that CI runs, with shorter faults; seven minutes
	@$(BIN)/beat chaos --brief --seeds 1 --jobs 2 $(ARGS)

measure: $(READY) ## what an idle stack costs, and what one request takes on it
	@$(BIN)/python -m bench.idle

bench: $(READY) $(PEERS)/.ready ## Beat compared with common alternatives; ARGS="--only beat,celery --rounds 3" narrows
	@$(BIN)/python -m bench.compare $(ARGS)

growth: $(READY) ## how the cost grows: dispatch cycles, writes, processes, batches, PgBouncer, memory; ARGS="--only cycles" narrows
	@$(BIN)/python -m bench.growth $(ARGS)

visits: $(READY) ## what it costs to visit again what is known; ARGS="--beside ../other-checkout --only writes" compares
	@$(BIN)/python -m bench.visits $(ARGS)

limits: $(READY) ## how much of a provider's limit is used; ARGS="--credentials 5 --latency 0-3"
	@$(BIN)/python -m bench.limits $(ARGS)

notices: $(READY) ## how long a notification takes from each fault on, and the message of its end; ARGS="--only Graph" narrows
	@$(BIN)/python -m bench.notices $(ARGS)

uploads: $(READY) ## what an upload of a picture costs, beside requests and boto3 with 32 threads, and how fast a backlog drains
	@$(BIN)/python -m bench.uploads $(ARGS)

backlog: $(READY) ## how a long backlog of pictures drains beside requests, which are saved in time, and what a bucket's faults do; ARGS="--only drain"
	@$(BIN)/python -m bench.backlog $(ARGS)

pictures: $(READY) ## what becomes of hostile and misleading pictures, the memory that they take, and what examining a clean one costs
	@$(BIN)/python -m bench.pictures $(ARGS)

events: $(READY) ## what an event costs, and the relay beside a plain loop of the same client; BEAT_TEST_RABBITMQ adds RabbitMQ
	@$(BIN)/python -m bench.events $(ARGS)

publishing: $(READY) ## the scrapes without a publisher, beside one whose sink is up, and beside one whose sink is down; BEAT_TEST_RABBITMQ adds RabbitMQ
	@$(BIN)/python -m bench.publishing $(ARGS)

traces: $(READY) ## what the export of traces costs, for each ended request and for each span
	@$(BIN)/python -m bench.traces $(ARGS)

trust: $(READY) ## what the gate catches of corrupted numbers, and what true days cost; fails if a goal is missed
	@$(BIN)/python -m bench.trust $(ARGS)

drills: $(READY) ## how soon each failure is told, by which alert, and whether its command works; seven minutes; ARGS="--only source,parser" narrows
	@$(BIN)/python -m bench.drills $(ARGS)

forecast: $(READY) ## how right forecasts of daily limits are, over 1,000 simulated days; fails if a goal is missed
	@$(BIN)/python -m bench.forecast $(ARGS)

restore: $(READY) ## how fast wrong observations are set right, and whether that is exact; ARGS="--entities 100000"
	@$(BIN)/python -m bench.restoring $(ARGS)

beside: $(READY) ## how long requests of one platform take while a provider of another one hangs; ARGS="--rates 2 --seconds 10"
	@$(BIN)/python -m bench.beside $(ARGS)

latency: $(READY) ## what an urgent request takes while a batch runs; ARGS="--rate 700": batch requests a second
	@$(BIN)/python -m bench.latency $(ARGS)

serve: $(READY) ## what the API takes: requests at a steady rate, batches, reads beside a bare handler, calls beside hostile callers; ARGS="--rate 200"
	@$(BIN)/python -m bench.api $(ARGS)

redirects: $(READY) ## how long a reader waits for the redirect of a stored asset; ARGS="--rate 200 --rows 100000"
	@$(BIN)/python -m bench.redirects $(ARGS)

wheels: $(READY) ## build the wheels into ./dist, without a network: production, `rehearsal`, and the client alone
	@$(BIN)/python -m hatchling build --target wheel --directory dist
	@cd rehearsal && ../$(BIN)/python -m hatchling build --target wheel --directory ../dist
	@cd client && ../$(BIN)/python -m hatchling build --target wheel --directory ../dist

notice: $(READY) ## write NOTICE: the licences of what the image contains
	@$(BIN)/python -m supply.notice

schemas: $(READY) ## write docs/schemas at a release: the schemas of events; refuses what would break consumers of the last one
	@$(BIN)/python -m supply.schemas

sbom: $(READY) ## write the image's bill of materials into ./dist (CycloneDX), without a network
	@$(BIN)/python -m supply.sbom

audit: $(READY) ## ask whether a vulnerability is known in what the image contains
	@$(BIN)/python -m supply.audit

format: $(READY) ## let ruff rewrite what it can
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

install: $(READY) ## create ./.venv from the lock

lock: $(UV) ## resolve the dependencies again; ARGS="--upgrade" takes newer versions
	@$(REGISTRY) $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" --extra dev $(ARGS) pyproject.toml -o requirements.lock
	@$(REGISTRY) $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" --extra otlp --constraint requirements.lock pyproject.toml -o requirements.image.lock
	@$(REGISTRY) $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" $(ARGS) bench/requirements.in -o bench/requirements.lock
	@$(REGISTRY) $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" $(ARGS) tests/generators/requirements.in -o tests/generators/requirements.lock

clean: ## remove the environment and the caches; data in ./.beat stays
	@rm -rf $(VENV) $(PEERS) $(GENERATORS) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .grimp_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

reset: $(READY) ## remove the data of the stack in ./.beat, for good
	@$(BIN)/python -c "from pathlib import Path; from beat_actors.local import Home; Home(Path('.beat')).erase()"

$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then \
		echo "Beat needs Python 3.11 or newer with the venv module, and none of python3.14 ... python3 is one."; \
		echo "Install one, or name it: make PYTHON=/path/to/python3 $(MAKECMDGOALS)"; exit 1; fi
	@$(PYTHON) -m venv $(VENV)

$(UV): $(BIN)/python
	@if [ -f requirements.lock ]; then awk '/^[a-z]/ { on = /^uv==/ } on' requirements.lock > $(VENV)/uv.txt; else echo uv > $(VENV)/uv.txt; fi
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $$(test -f requirements.lock && echo --require-hashes) -r $(VENV)/uv.txt
	@touch $@

# The project's own files are linked, not copied, and built with the locked hatchling: nothing unlocked is ever fetched.
$(READY): requirements.lock pyproject.toml | $(UV)
	@echo "Installing the locked dependencies into $(VENV) ..."
	@$(REGISTRY) $(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock \
		|| $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --offline --no-deps --no-build-isolation --editable .
	@touch $@

# The peers' packages stay apart: their versions must not bend Beat's.
$(PEERS)/.ready: bench/requirements.lock | $(READY)
	@echo "Installing the peers of the benchmark into $(PEERS) ..."
	@test -x $(PEERS)/bin/python || $(BIN)/python -m venv --without-pip $(PEERS)
	@$(REGISTRY) $(BIN)/uv pip sync --quiet --python $(PEERS)/bin/python --require-hashes bench/requirements.lock
	@touch $@

# Generators of clients bring formatters and parsers of their own, which would bend the versions of Beat's tools.
$(GENERATORS)/.ready: tests/generators/requirements.lock | $(READY)
	@echo "Installing generators of API clients into $(GENERATORS) ..."
	@test -x $(GENERATORS)/bin/python || $(BIN)/python -m venv --without-pip $(GENERATORS)
	@$(REGISTRY) $(BIN)/uv pip sync --quiet --python $(GENERATORS)/bin/python --require-hashes tests/generators/requirements.lock
	@touch $@

generators: $(GENERATORS)/.ready ## install the generators that tests/generators makes clients with
