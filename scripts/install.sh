#!/bin/sh
# Creates .venv from requirements.lock; the first argument is the Python to use.
set -eu
python=$1

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
  echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11" >&2
  exit 1
}
# Debian keeps the part of venv that brings pip in a package of its own.
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
  if [ "$(id -u)" = 0 ]; then
    apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
  else
    echo "python3-venv is missing: sudo apt-get install python3-venv" >&2
    exit 1
  fi
fi
echo "installing the packages of requirements.lock into .venv"
"$python" -m venv .venv
# uv installs in seconds what takes pip a minute; its own entry in the lock says which, with hashes.
sed -n '/^uv==/,/[^\\]$/p' requirements.lock |
  .venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r /dev/stdin
VIRTUAL_ENV=.venv .venv/bin/uv pip sync --quiet --require-hashes requirements.lock ||
  .venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
