#!/usr/bin/env bash
# Write the software bill of materials of the image: every package of requirements.txt, as CycloneDX.
#
# usage: sbom.sh [FILE]   (var/sbom.json)
set -euo pipefail
cd "$(dirname "$0")/.."
file="${1:-var/sbom.json}"
mkdir -p "$(dirname "$file")"
# It warns that a requirements file does not say what needs what.
PYTHONWARNINGS=ignore .venv-audit/bin/cyclonedx-py requirements --output-reproducible \
  --pyproject pyproject.toml requirements.txt |
  .venv/bin/python -m deploy.licences >"$file.new"
mv "$file.new" "$file"
echo "$file"
