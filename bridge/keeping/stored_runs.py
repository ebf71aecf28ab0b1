"""Runs as they are kept in a tracking store, and what can go wrong with a kept history.

HistoryError
└── DamagedHistoryError
"""

import hashlib
import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from service.monitoring.tracking import Point


class HistoryError(Exception):
    """The history cannot be read, copied or written; the message says why, and what to do."""


class DamagedHistoryError(HistoryError):
    """A copy is not what was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """One run, without its points."""

    id: str
    name: str
    status: str
    start_ms: int
    end_ms: int | None
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metric_names: frozenset[str]
    is_linked: bool
    """Whether it refers to data sets or models that are kept elsewhere in the store."""


def in_order(points: Iterable[Point]) -> Sequence[Point]:
    """Sort points by all their fields; NaN has a place too."""
    return sorted(points, key=lambda p: (p.name, p.step, p.timestamp_ms, _bits(p.value)))


def digest_of(points: Iterable[Point]) -> str:
    """SHA-256 over every bit of every point, in whatever order they come."""
    digest = hashlib.sha256()
    for point in in_order(points):
        name = point.name.encode()
        digest.update(struct.pack("<Iqq", len(name), point.step, point.timestamp_ms))
        digest.update(name + _bits(point.value))
    return digest.hexdigest()


def _bits(value: float) -> bytes:
    # A store has one NaN and, as SQLite knows no other, one zero.
    return struct.pack("<d", math.nan if math.isnan(value) else value + 0.0)
