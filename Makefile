.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
# onnxruntime reports home unless told not to; our programs tell it, tests import it themselves.
export ORT_DISABLE_TELEMETRY := 1
export TF_CPP_MIN_LOG_LEVEL := 3

help:  ## Show this list
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

setup: .venv/.ready  ## Make .venv with everything in it, at the versions of constraints.txt

.venv/.ready: constraints.txt pyproject.toml
	@deploy/setup.sh .venv constraints.txt
	@touch $@

.venv-runtime/.ready: constraints-runtime.txt pyproject.toml
	@deploy/setup.sh .venv-runtime constraints-runtime.txt
	@touch $@

lock:  ## Resolve the dependencies anew into constraints*.txt (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate \
	  --custom-compile-command 'make lock' --all-extras --group dev pyproject.toml -o constraints.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate \
	  --custom-compile-command 'make lock' --extra edge --extra fog --group test pyproject.toml \
	  -c <(grep -E '^[a-z0-9].*==' constraints.txt | tr -d '\\') -o constraints-runtime.txt
	deploy/requirements/lock.sh

proto: setup  ## Write the stubs of every .proto
	$(BIN)/python proto/generate.py

check: setup  ## Format, lint, import rules, types, stubs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy
	$(BIN)/python proto/generate.py --check

test: setup  ## The tests that take under ten minutes
	$(BIN)/pytest -m "not slow and not bench"

test-all: setup  ## Every test: slow ones, real programs, real data
	$(BIN)/pytest -m "not bench"

test-runtime: .venv-runtime/.ready  ## Edge and fog alone, in an environment without TensorFlow
	.venv-runtime/bin/pytest -m "not slow and not bench and not tf" tests/headtail tests/edge tests/fog

test-arm64: setup  ## The edge agent in an emulated 64-bit ARM user land (root, ten minutes)
	deploy/arm64/run-in-userland.sh -s -q

bench: setup  ## Fog and agent against the floors, ten minutes: docs/benchmarks
	$(BIN)/python tests/benchmarks/bench.py
	$(BIN)/pytest -m bench -s -q tests/benchmarks/test_programs.py \
	  tests/benchmarks/test_spool.py tests/benchmarks/test_workers.py

bench-peers: setup  ## Fog against Triton, MLServer and KServe, a quarter of an hour: docs/benchmarks
	$(BIN)/python tests/benchmarks/bench_peers.py

bench-training: setup  ## Time and energy of training: our trainers, the frozen prefix, images
	$(BIN)/pytest -m bench -s -q tests/benchmarks/test_trainer.py \
	  tests/benchmarks/test_frozen_prefix.py tests/benchmarks/test_images.py

regret: setup  ## The live choice against every fixed plan on 63 emulated links (half an hour)
	$(BIN)/python tests/regret/regret.py

chaos: setup  ## Kills, a bad network, malformed messages, full disks: prints what it counted
	$(BIN)/python tests/chaos/disk.py
	$(BIN)/python tests/chaos/network.py
	$(BIN)/python tests/chaos/kills.py
	$(BIN)/python tests/chaos/malformed.py

soak: setup  ## Half an hour of load: memory, descriptors and threads over time
	$(BIN)/python tests/chaos/soak.py

demo: setup  ## Optimise, cut, serve, stream and measure on this machine
	$(BIN)/python deploy/demo.py

.PHONY: help setup lock proto check test test-all test-runtime test-arm64 bench bench-peers bench-training chaos soak regret demo
