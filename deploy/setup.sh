#!/usr/bin/env bash
# Make a virtual environment with exactly the versions and hashes of a constraints file, and the
# project itself in it. With uv where it is, with pip where not.
#   deploy/setup.sh VENV CONSTRAINTS
set -euo pipefail

venv=$1 constraints=$2
python=${PYTHON:-python3}

fail() { echo "setup: $*" >&2; exit 1; }

command -v "$python" >/dev/null || fail "no $python here; on Debian and Ubuntu: apt-get install python3 python3-venv"
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' ||
  fail "expected Python 3.11 to 3.13, received $("$python" --version); name another with PYTHON=/path/to/python3.12"

echo "setup: $venv from $constraints (a few minutes the first time)" >&2
if command -v uv >/dev/null; then
  uv venv --quiet --allow-existing --python "$python" "$venv"
  uv pip install --quiet --compile-bytecode --python "$venv/bin/python" --require-hashes -r "$constraints"
  uv pip install --quiet --python "$venv/bin/python" --no-build-isolation --no-deps -e .
  exit
fi

if ! "$python" -c 'import ensurepip' 2>/dev/null; then
  # Debian and Ubuntu keep venv in a package of its own.
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
    fail "$python has no venv; on Debian and Ubuntu: sudo apt-get install python3-venv"
  apt-get -qq update && apt-get -qq install -y python3-venv >/dev/null
fi
"$python" -m venv "$venv"
pip=("$venv/bin/python" -m pip --quiet --disable-pip-version-check install)
"${pip[@]}" --require-hashes -r "$constraints"
"${pip[@]}" --no-build-isolation --no-deps -e .
