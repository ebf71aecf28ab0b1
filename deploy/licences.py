"""Adds licences to a bill of materials: a lock file does not know them, an installed package does.

Reads CycloneDX on standard input and writes it to standard output; see ``scripts/sbom.sh``.
"""

import json
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Any

_CLASSIFIER = "License :: "
_LONGEST_NAME = 80
"""Some packages put the whole text where the name belongs."""


def licences_of(package: str) -> Sequence[dict[str, Any]]:
    """Give what an installed package says of its licence, as CycloneDX has it; may be empty."""
    try:
        said = metadata.metadata(package).json
    except metadata.PackageNotFoundError:  # It is for another platform.
        return []
    if expression := said.get("license_expression"):
        return [{"expression": expression}]
    classifiers = said.get("classifier", ())
    names = [one.split(" :: ")[-1] for one in classifiers if one.startswith(_CLASSIFIER)]
    name = str(said.get("license", "")).strip()
    if not names and name and len(name) <= _LONGEST_NAME:
        names = [name]
    return [{"license": {"name": name}} for name in names]


def main() -> None:
    """Add them."""
    bill = json.load(sys.stdin)
    for component in bill["components"]:
        del component["description"]  # The line of the lock file with all its hashes.
        if licences := licences_of(component["name"]):
            component["licenses"] = licences
    json.dump(bill, sys.stdout, indent=1, sort_keys=True)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
