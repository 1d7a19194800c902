#!/bin/sh
# Make .venv hold exactly the locked requirements of FILE, and this project.
# Usage: environment.sh FILE
set -eu
python=${PYTHON:-python3}
lock=$1

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "error: $python is not CPython 3.11 or newer. Name one that is: make PYTHON=python3.12 ..." >&2
    exit 4
fi
if [ ! -x .venv/bin/python ]; then
    "$python" -c 'import ensurepip, venv' 2>/dev/null || sh tests/setup/programs.sh --package python3-venv
    echo "making .venv" >&2
    "$python" -m venv .venv
fi
# uv comes from the same hashed lock as everything else; from then on it is the installer, being the faster one.
if [ ! -x .venv/bin/uv ]; then
    grep -A 40 '^uv==' "$lock" | awk 'NR > 1 && /^[a-z]/ { exit } { print }' > .venv/uv.txt
    .venv/bin/python -m pip --quiet --disable-pip-version-check install --require-hashes -r .venv/uv.txt
fi
echo "installing $lock" >&2
.venv/bin/uv pip install --quiet --python .venv/bin/python --require-hashes -r "$lock"
.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --editable .
