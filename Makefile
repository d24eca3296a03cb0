# Every target sets up what it needs. PYTHON picks the interpreter (3.11 or newer) for a new environment.
PYTHON ?= $(shell for v in python3.13 python3.12 python3.11 python3; do \
	$$v -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$v; break; }; done)
BIN := .venv/bin
# A virtual environment on a fresh machine may carry an old pip; nothing here needs a newer one.
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: help setup demo test test-all bench chaos distributed fuzz gpu last-mile docs check lowest lock clean
.DEFAULT_GOAL := help

help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/ -/'

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "tailfit needs Python 3.11 or newer; set PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/.demo: requirements/demo.txt pyproject.toml | $(BIN)/python
	@echo "Installing what the demo needs (JAX) ..."
	$(PIP) install --no-compile -r requirements/demo.txt
	$(PIP) install --no-deps -e .
	@touch $@

.venv/.dev: requirements/dev.txt pyproject.toml | $(BIN)/python
	@echo "Installing all three backends and the development tools ..."
	$(PIP) install --no-compile -r requirements/dev.txt
	$(PIP) install --no-deps -e .
	@touch $@ .venv/.demo

setup: .venv/.dev ## .venv with all three backends and the development tools

demo: .venv/.demo ## set up (JAX only) and run the demo
	$(BIN)/tailfit demo $(ARGS)

test: setup ## every test on at least one of the three backends; `scripts/test --quick` gives a verdict in a minute
	scripts/test $(ARGS)

test-all: setup ## every case, including slow ones; an hour or more
	scripts/test --all $(ARGS)

bench: setup ## benchmarks, side by side with other libraries
	scripts/bench $(ARGS)

chaos: setup ## kill runs and commands a thousand times on three backends, about an hour; each must end as if never killed
	$(BIN)/python tests/chaos/chaos.py $(ARGS)
	$(BIN)/python tests/chaos/commands.py

.venv/.ray: requirements/ray.txt | .venv/.dev
	$(PIP) install --no-compile -r requirements/ray.txt
	@touch $@

distributed: setup .venv/.ray ## workers with the bits of one process, also after kills; without and with Ray; about an hour
	$(BIN)/python tests/distributed/distributed.py
	$(BIN)/python tests/distributed/launching.py
	# A process for each test: Ray Train's controller does not start in a process that has left another cluster.
	for test in killed_task no_cluster worker_is_killed loses_a_node; do \
		KERAS_BACKEND=$(or $(BACKEND),torch) $(BIN)/python -m pytest -q --cases every tests/distributed -k $$test || exit 1; \
	done

.venv/fuzz: | .venv/.dev
	$(PIP) install --target $@ atheris

fuzz: setup .venv/fuzz ## fuzz every parser, guided by coverage; MINUTES=10 in all, ONLY=npy,csv
	PYTHONPATH=.venv/fuzz $(BIN)/python tests/fuzz/fuzz.py --minutes $(or $(MINUTES),10) --only "$(ONLY)"

last-mile: setup ## every command on two data sets, up to ONNX without tailfit; TEP=tep_windows.npz WELLS=folder
	$(BIN)/python tests/proof/last_mile.py $(if $(TEP),--tep $(TEP)) $(if $(WELLS),--wells $(WELLS)) $(ARGS)

gpu: setup ## the suite and the speed of a step on a GPU (eight minutes)
	scripts/gpu $(ARGS)

docs: setup ## the examples in all docstrings on each backend, and the site
	scripts/docs

check: setup ## lint, types, direction of imports
	scripts/check

lowest: ## the suite on the oldest versions allowed (needs uv)
	scripts/test-lowest $(ARGS)

lock: ## renew requirements/*.txt (needs uv)
	scripts/lock

clean:
	rm -rf .venv build dist
