"""Counters as bytes: the series once per distinct set, the values exact and small."""

import hashlib
import json
import zlib
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from service.monitoring.snapshot import Series

_VALUE = np.dtype("<f8")
_BITS = np.dtype("<u8")


class Layout(NamedTuple):
    """The series of a snapshot, in the order in which their values are stored."""

    series: tuple[Series, ...]
    digest: bytes
    content: bytes


def layout_of(counters: Mapping[Series, float]) -> Layout:
    """Return the layout of these counters; equal for every order of the same series."""
    return _layout(tuple(counters))


def encode_values(counters: Mapping[Series, float], layout: Layout) -> bytes:
    """Pack the values, bit for bit, in the layout's order.

    Neighbours (the buckets of a histogram) are alike, so the differences of their bit patterns,
    first bytes first, pack a third smaller than the values; unlike those of floats they are exact.
    """
    values = np.array([counters[series] for series in layout.series], dtype=_VALUE)
    differences = np.diff(values.view(_BITS), prepend=_BITS.type(0))
    return zlib.compress(differences.view(np.uint8).reshape(-1, _BITS.itemsize).T.tobytes())


def decode_series(content: bytes) -> tuple[Series, ...]:
    """Read what `Layout.content` holds."""
    return tuple(
        Series(name, tuple((label, value) for label, value in labels))
        for name, labels in json.loads(zlib.decompress(content))
    )


def decode_counters(series: tuple[Series, ...], content: bytes) -> dict[Series, float]:
    """Unpack values that were stored in the order of ``series``."""
    planes = np.frombuffer(zlib.decompress(content), dtype=np.uint8).reshape(_BITS.itemsize, -1)
    differences = np.ascontiguousarray(planes.T).view(_BITS).reshape(-1)
    values = np.cumsum(differences, dtype=_BITS).view(_VALUE)
    return dict(zip(series, values.tolist(), strict=True))


@lru_cache(maxsize=16)
def _layout(series: tuple[Series, ...]) -> Layout:
    ordered = tuple(sorted(series))
    text = json.dumps(ordered, separators=(",", ":")).encode()
    return Layout(ordered, hashlib.sha256(text).digest(), zlib.compress(text))
