#!/usr/bin/env bash
# Write what each program needs, at the versions and hashes of constraints.txt, beside this script.
# The runtimes' sets hold no test tools, so an installed device carries only what it runs.
set -euo pipefail
cd "$(dirname "$0")/../.."

pins() { grep -E '^[a-z0-9].*==' constraints.txt | sed 's: .$::'; }

compile() { # OUT [uv's arguments...]: with every pin of constraints.txt
  local out=$1
  shift
  uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate \
    --custom-compile-command deploy/requirements/lock.sh -c <(pins) "$@" -o "deploy/requirements/$out.txt"
}

compile edge --extra edge pyproject.toml
compile fog --extra fog pyproject.toml
compile build <(echo hatchling)
# The GPU's onnxruntime has the same modules under another name, and brings CUDA and cuDNN.
version=$(pins | sed -nE 's/^onnxruntime==([0-9.]+).*/\1/p')
compile fog-gpu --extra fog --no-emit-package onnxruntime pyproject.toml \
  <(echo "onnxruntime-gpu[cuda,cudnn]==$version ; sys_platform == 'linux' and platform_machine == 'x86_64'")
