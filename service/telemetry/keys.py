"""The keys of prometheus_client's metrics files: which series a value belongs to."""

import json
import math
import re
from functools import lru_cache
from typing import NamedTuple

from service.monitoring import catalogue


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
    family, name, labels, _ = json.loads(text)
    if not _is_of_a_series(family, name, labels):
        raise ValueError(f"not a key of a series: {text[:80]}")
    bound = float(labels["le"]) if "le" in labels else None
    if bound is not None and math.isnan(bound):
        raise ValueError(f"not a bucket: {text[:80]}")
    identity = tuple(value for label, value in labels.items() if label != "le")
    return SeriesKey(text, family, name, labels, identity, bound)


_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_OF_A_VERSION = {
    metric.name.removesuffix("_total")
    for metric in catalogue.CATALOGUE
    if metric.labels[:2] == catalogue.MODEL_LABELS
}


def _is_of_a_series(family: object, name: object, labels: object) -> bool:
    """Tell whether all who read a key find what they look for; beyond that it may be anyone's."""
    if not (isinstance(family, str) and isinstance(name, str) and isinstance(labels, dict)):
        return False
    return (
        _NAME.fullmatch(name) is not None
        and name.startswith(family)
        and all(_NAME.fullmatch(label) for label in labels)
        # Half of a pair of surrogates could not be written out again.
        and all(map(_is_text, labels.values()))
        and (family not in _OF_A_VERSION or labels.keys() >= set(catalogue.MODEL_LABELS))
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)
