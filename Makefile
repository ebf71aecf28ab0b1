# Targets with a comment of two # are listed by `make`.
.DEFAULT_GOAL := help
.PHONY: help run demo env ui test fuzz bench check format lock lock-check train dashboards pictures
.PHONY: audit sbom released nightly
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
BENCH_INSTALLED := .venv/.bench-installed
AUDIT_INSTALLED := .venv-audit/.installed

# Many tests wait for the clock or for another program, so that four fill two processors; files
# that wait for whole minutes begin early where files are taken in order.
IN_PARALLEL := --numprocesses 4 --dist loadfile --no-loadscope-reorder

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

run: $(INSTALLED) ## Train models if there are none, then serve on http://127.0.0.1:8000
	@ls models/*/CURRENT >/dev/null 2>&1 || $(BIN)/python scripts/train_models.py
	@exec $(BIN)/python scripts/run_api.py

demo: $(INSTALLED) ## Start everything and tell a story with simulated visitors, six minutes (FLAGS="--port 0 ...")
	@exec $(BIN)/python -m demo $(FLAGS)

ui: $(INSTALLED) ## Show the history in MLflow on http://127.0.0.1:5000
	@exec $(BIN)/python -m bridge ui

env: ## Write .env with random passwords for docker-compose.yml, unless there is one
	@scripts/make_env.sh

train: $(INSTALLED) ## Train new models on the simulated click log
	$(BIN)/python scripts/train_models.py

# They start hundreds of processes: none compiles again what it imports, and none takes as many
# threads as there are processors, which wait for each other where the others are busy.
test: export PYTHONDONTWRITEBYTECODE :=
test: export OMP_NUM_THREADS := 1
test: $(INSTALLED) $(AUDIT_INSTALLED) ## Install what the tests need and run all of them
	@scripts/install_test_tools.sh
	$(BIN)/pytest $(IN_PARALLEL) --durations 12

SECONDS := 60
fuzz: $(INSTALLED) ## Search for input that breaks a law, SECONDS=60 for each target, and ask the API for 200 examples of each kind
	$(BIN)/python -m fuzz --seconds $(SECONDS)
	OPENAPI_EXAMPLES=200 $(BIN)/pytest tests/integration/test_openapi.py

bench: $(BENCH_INSTALLED) ## Measure speed beside other servers, cost of monitoring, quality of drift detection (half an hour)
	@command -v wrk >/dev/null || scripts/install_test_tools.sh
	$(BIN)/python -m benchmarks.serving
	@ls models/*/CURRENT >/dev/null 2>&1 || $(BIN)/python scripts/train_models.py
	$(BIN)/python -m benchmarks.recording
	$(BIN)/python -m benchmarks.monitoring_cost
	$(BIN)/python -m benchmarks.feedback
	$(BIN)/python -m benchmarks.scoring
	$(BIN)/python -m benchmarks.drift

# One line for each.
nightly: export OMP_NUM_THREADS := 1
nightly: $(INSTALLED) ## What is too slow for every commit, or needs the world outside
	@ls models/*/CURRENT >/dev/null 2>&1 || $(BIN)/python scripts/train_models.py
	$(BIN)/python -m benchmarks.soak --minutes 30
	$(BIN)/python -m benchmarks.months --days 95
	$(BIN)/python -m benchmarks.overload
	$(MAKE) fuzz SECONDS=300
	$(MAKE) sbom audit

check: $(INSTALLED) lock-check ## Format, lint, types, import contracts, generated files, lock
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/hadolint Dockerfile
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m deploy --check
	$(BIN)/python -m deploy.dashboards --check

pictures: $(INSTALLED) ## Draw the dashboards with Grafana's components into var/pictures (seven minutes; npm, Chromium)
	PYTHONPATH=.:tests $(BIN)/python tests/pictures/pictures.py

dashboards: $(INSTALLED) ## Generate the Grafana dashboards from their code
	$(BIN)/python -m deploy.dashboards

format: $(INSTALLED) ## Format the code and mend what the linter can
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

audit: $(AUDIT_INSTALLED) ## Ask OSV for known vulnerabilities of every pinned package; fails where it cannot be asked
	@scripts/audit.sh

sbom: $(INSTALLED) $(AUDIT_INSTALLED) ## Write var/sbom.json, what the image installs (CycloneDX)
	@scripts/sbom.sh

released: $(INSTALLED) ## Write what this version leaves behind, for the tests of later ones
	@PYTHONPATH=.:tests $(BIN)/python tests/released_state.py

RESOLVE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-annotate --no-header
COMPILE = $(RESOLVE) --extra cpu pyproject.toml
DEV = --group test --group lint --group generate
BENCH = $(RESOLVE) --group benchmark --constraint requirements.lock
AUDIT = $(RESOLVE) --group audit --constraint requirements.lock

lock: $(INSTALLED) ## Resolve pyproject.toml into requirements.lock, its .txt, -bench.lock and -audit.lock
	$(COMPILE) $(DEV) --generate-hashes --output-file requirements.lock
	$(COMPILE) --generate-hashes --constraint requirements.lock --output-file requirements.txt
	$(BENCH) --generate-hashes --output-file requirements-bench.lock
	$(AUDIT) --generate-hashes --output-file requirements-audit.lock

# Compared without hashes: a wheel published later for a pinned version is no change of ours.
VERSIONS = sed -n 's/^\([a-z].*[^ \\]\) *\\*$$/\1/p'
lock-check: $(INSTALLED)
	@$(COMPILE) $(DEV) --constraint requirements.lock | $(VERSIONS) > .venv/lock
	@$(VERSIONS) requirements.lock | diff - .venv/lock || { echo "requirements.lock is stale: make lock"; exit 1; }
	@$(COMPILE) --constraint requirements.lock | $(VERSIONS) > .venv/txt
	@$(VERSIONS) requirements.txt | diff - .venv/txt || { echo "requirements.txt is stale: make lock"; exit 1; }
	@$(BENCH) | $(VERSIONS) > .venv/bench
	@$(VERSIONS) requirements-bench.lock | diff - .venv/bench || { echo "requirements-bench.lock is stale: make lock"; exit 1; }
	@$(AUDIT) | $(VERSIONS) > .venv/audit
	@$(VERSIONS) requirements-audit.lock | diff - .venv/audit || { echo "requirements-audit.lock is stale: make lock"; exit 1; }

$(INSTALLED): requirements.lock
	@scripts/install.sh "$(PYTHON)"
	@touch $@

$(BENCH_INSTALLED): requirements-bench.lock $(INSTALLED)
	@VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --require-hashes -r requirements-bench.lock
	@touch $@

# An environment of its own: what asks about our packages must not be able to change them.
$(AUDIT_INSTALLED): requirements-audit.lock $(INSTALLED)
	@$(BIN)/uv venv --quiet --allow-existing .venv-audit
	@VIRTUAL_ENV=.venv-audit $(BIN)/uv pip sync --quiet --require-hashes requirements-audit.lock
	@touch $@
