#!/bin/sh
# Builds the sdist, from it the wheel, installs that in a virtual environment outside the checkout
# and runs the tests against it.  Arguments: the environment of the checkout, then pytest's.
set -eu
repo=$(cd "$(dirname "$0")/.." && pwd)
cd "$repo"
python=$repo/$1/bin/python
shift

work=$(mktemp -d "${TMPDIR:-/tmp}/accelsim-wheel.XXXXXX")
work=$(cd "$work" && pwd -P)
trap 'rm -rf "$work"' EXIT

if ! "$python" -m build --no-isolation --outdir "$work/dist" . >"$work/build.log" 2>&1; then
    cat "$work/build.log"
    exit 1
fi
"$python" -m venv --without-pip "$work/venv"
"$python" -m pip --disable-pip-version-check --python "$work/venv/bin/python" \
    install --quiet --no-deps "$work"/dist/*.whl

# Dependencies come from the checkout's environment.  A folder named in a .pth file is searched, but
# the .pth files in it are not read: the checkout's own editable install stays out of sight.
site() {
    "$1" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'
}
site "$python" >"$(site "$work/venv/bin/python")/dependencies.pth"

cp -R tests pyproject.toml "$work"
export ACCELSIM_EXPECT_WHEEL="$work/venv"
export ACCELSIM_CACHE_DIR="$work/cache"
export ACCELSIM_REFERENCE_DATA="${ACCELSIM_REFERENCE_DATA:-$repo/../shared/data}"
unset PYTHONPATH
cd "$work"
"$work/venv/bin/python" -m pytest tests "$@"
