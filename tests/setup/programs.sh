#!/bin/sh
# Install the Debian packages of programs that are not there yet.
# Usage: programs.sh PROGRAM[=PACKAGE]... module:NAME=PACKAGE...   or   programs.sh --package PACKAGE...
set -eu

# Where Debian keeps what only an administrator starts.
PATH=$PATH:/usr/sbin:/sbin
missing=
if [ "$1" = --package ]; then
    shift
    missing=$*
else
    for entry in "$@"; do
        name=${entry%%=*}
        case $name in
            module:*) "${PYTHON:-python3}" -I -c "import ${name#module:}" >/dev/null 2>&1 || missing="$missing ${entry#*=}" ;;
            *) command -v "$name" >/dev/null 2>&1 || missing="$missing ${entry#*=}" ;;
        esac
    done
fi
# shellcheck disable=SC2086  # one word a package
missing=$(printf '%s\n' $missing | sort -u | tr '\n' ' ')
[ -n "${missing% }" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    echo "error: needed: ${missing% }. This machine has no apt-get: install these by its own package manager." >&2
    exit 4
fi
if [ "$(id -u)" = 0 ]; then
    as_root="env"
elif sudo -n true 2>/dev/null; then
    as_root="sudo env"
else
    echo "error: needed: ${missing% }. Run: sudo apt-get install --no-install-recommends ${missing% }" >&2
    exit 4
fi
echo "installing Debian packages: ${missing% }" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# RUNLEVEL=1: packages that bring a service must not start it; the tests start their own, on ports of their own.
apt() {
    $as_root DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -o DPkg::Lock::Timeout=300 -qq "$@" >"$log" 2>&1
}
# shellcheck disable=SC2086  # one word a package
if ! { apt install -y --no-install-recommends $missing || { apt update && apt install -y --no-install-recommends $missing; }; }; then
    cat "$log" >&2
    echo "error: apt-get could not install: ${missing% }" >&2
    exit 5
fi
