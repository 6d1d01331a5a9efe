#!/bin/sh
# Resolves pyproject.toml to requirements.lock: one set of versions for Python 3.11 to 3.13 on Linux
# and macOS, with hashes.  PYTHON names the interpreter that runs the resolver.
set -eu
cd "$(dirname "$0")/.."
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
"${PYTHON:-python3}" -m pip --disable-pip-version-check install --quiet --target "$tools" uv

# Without "fewest", Python 3.12 and later would get other versions of NumPy and SciPy than 3.11.
"$tools/bin/uv" pip compile pyproject.toml --extra dev --extra parquet --output-file requirements.lock \
    --universal --python-version 3.11 --fork-strategy fewest --upgrade \
    --generate-hashes --no-annotate --quiet --custom-compile-command "make lock"
