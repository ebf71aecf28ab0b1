"""The keys of prometheus_client's metrics files: which series a value belongs to."""

import json
from functools import lru_cache
from typing import NamedTuple


class SeriesKey(NamedTuple):
    """A key and what it says."""

    text: str
    family: str
    name: str
    """Of the sample, such as ``..._bucket``."""
    labels: dict[str, str]
    """Shared by all who ask: not to be changed."""
    identity: tuple[str, ...]
    """Label values without the bucket's bound."""
    bound: float | None
    """Of a bucket."""


@lru_cache(maxsize=65_536)
def parsed_key(text: str) -> SeriesKey:
    """Read a key.

    Raises:
        ValueError: It is damaged.
    """
    try:
        family, name, labels, _ = json.loads(text)
        bound = float(labels["le"]) if "le" in labels else None
        identity = tuple(value for label, value in labels.items() if label != "le")
    except (TypeError, AttributeError) as error:
        raise ValueError(f"not a key of a series: {text[:80]}") from error
    return SeriesKey(text, family, name, labels, identity, bound)
