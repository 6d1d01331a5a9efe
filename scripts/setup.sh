#!/bin/sh
# Makes or refreshes the virtual environment (first argument) from requirements.lock, with this
# checkout installed in it.  Needs only Python 3.11 to 3.13 with pip; PYTHON names the one to use.
set -eu
cd "$(dirname "$0")/.."
venv=${1:-.venv}

supported() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

# Prints the first interpreter that runs and is of a supported version; python3 may be neither.
find_python() {
    if [ -n "${PYTHON:-}" ]; then
        set -- "$PYTHON"
    else
        set -- python3 python3.13 python3.12 python3.11
    fi
    for candidate in "$@"; do
        if supported "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    echo "accelsim needs Python 3.11, 3.12 or 3.13, and found none (tried: $*)." >&2
    echo "Name one:  make setup PYTHON=/path/to/python3.12" >&2
    exit 1
}

make_venv() {
    rm -rf "$venv"
    if "$1" -c 'import ensurepip, venv' 2>/dev/null; then
        "$1" -m venv "$venv"
        return
    fi
    # Debian and Ubuntu keep ensurepip in a package of its own, python3-venv.
    "$1" -m pip install --quiet --target .venv-bootstrap virtualenv
    PYTHONPATH=.venv-bootstrap "$1" -m virtualenv --quiet "$venv"
    rm -rf .venv-bootstrap
}

if [ -n "${PYTHON:-}" ] || ! supported "$venv/bin/python" ||
    ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    python=$(find_python)
    make_venv "$python"
fi

pip() {
    "$venv/bin/python" -m pip --disable-pip-version-check "$@"
}

echo "Installing into $venv ($("$venv/bin/python" --version)) ..."
pip install --quiet -r requirements.lock
pip install --quiet --no-deps --no-build-isolation --editable .
pip check # fails when pyproject.toml asks for something that the lock lacks
