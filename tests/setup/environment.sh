#!/bin/sh
# Make .venv hold exactly the locked requirements of FILE, and this project.
# Usage: environment.sh FILE
set -eu
python=${PYTHON:-python3}
lock=$1

# -I: what the caller's environment says to Python (PYTHONPATH, PYTHONWARNINGS, ...) is not for installers.
if ! "$python" -I -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "error: $python is not CPython 3.11 or newer. Name one that is: make PYTHON=python3.12 ..." >&2
    exit 4
fi
if [ ! -x .venv/bin/python ]; then
    "$python" -I -c 'import ensurepip, venv' 2>/dev/null || sh tests/setup/programs.sh --package python3-venv
    echo "making .venv" >&2
    if ! "$python" -I -m venv .venv; then
        echo "error: .venv cannot be made in $PWD. Copy the checkout to a folder that you may write to." >&2
        exit 5
    fi
fi
# Both installers get what this machine is configured with for either of them, and trust what the system trusts.
configured() {
    .venv/bin/python -I tests/setup/configured.py "$@" && return
    cat >&2 <<'END'
error: Python packages could not be installed.
Check the package index (PIP_INDEX_URL or UV_DEFAULT_INDEX), the proxy (HTTPS_PROXY) and who is trusted: put your company's
authority into the system's trust store (/usr/local/share/ca-certificates/NAME.crt, then: sudo update-ca-certificates), or
name a file with it in SSL_CERT_FILE.
END
    exit 7
}
# uv comes from the same hashed lock as everything else; from then on it is the installer, being the faster one.
if [ ! -x .venv/bin/uv ]; then
    grep -A 40 '^uv==' "$lock" | awk 'NR > 1 && /^[a-z]/ { exit } { print }' > .venv/uv.txt
    configured .venv/bin/python -I -m pip --quiet --disable-pip-version-check install --require-hashes -r .venv/uv.txt
fi
echo "installing $lock" >&2
configured .venv/bin/uv pip install --quiet --python .venv/bin/python --require-hashes -r "$lock"
configured .venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --editable .
