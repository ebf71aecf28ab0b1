#!/usr/bin/env bash
# Ask an advisory service about every pinned package: 0 where nothing is known against any of them,
# 1 where something is, or where nobody could be asked. Nothing is installed.
#
# usage: audit.sh [URL of a service that speaks OSV's protocol, instead of OSV's own]
set -euo pipefail
cd "$(dirname "$0")/.."
url="${1:-https://api.osv.dev/v1/query}"
locks=(requirements.txt requirements.lock requirements-bench.lock requirements-audit.lock)
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT

if .venv-audit/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off \
  --vulnerability-service osv --osv-url "$url" --output "$scratch/found" \
  "${locks[@]/#/--requirement=}" 2>"$scratch/said"; then
  echo "audit: nothing is known against any package of ${locks[*]}"
elif [ -s "$scratch/found" ]; then
  cat "$scratch/found"
  echo "audit: replace these packages in pyproject.toml, then make lock" >&2
  exit 1
else
  tail -n 1 "$scratch/said" >&2
  echo "audit: NOT DONE, $url could not be asked about every package; run it where it can" >&2
  exit 1
fi
