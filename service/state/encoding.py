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


class Layout(NamedTuple):
    """The series of a snapshot, in the order in which their values are stored."""

    series: tuple[Series, ...]
    digest: bytes
    content: bytes


def layout_of(counters: Mapping[Series, float]) -> Layout:
    """Return the layout of these counters; equal for every order of the same series."""
    return _layout(tuple(counters))


def encode_values(counters: Mapping[Series, float], layout: Layout) -> bytes:
    """Pack the values, bit for bit, in the layout's order."""
    values = np.array([counters[series] for series in layout.series], dtype=_VALUE)
    return zlib.compress(values.tobytes())


def decode_series(content: bytes) -> tuple[Series, ...]:
    """Read what `Layout.content` holds."""
    return tuple(
        Series(name, tuple((label, value) for label, value in labels))
        for name, labels in json.loads(zlib.decompress(content))
    )


def decode_counters(series: tuple[Series, ...], content: bytes) -> dict[Series, float]:
    """Unpack values that were stored in the order of ``series``."""
    values = np.frombuffer(zlib.decompress(content), dtype=_VALUE)
    return dict(zip(series, values.tolist(), strict=True))


@lru_cache(maxsize=16)
def _layout(series: tuple[Series, ...]) -> Layout:
    ordered = tuple(sorted(series))
    text = json.dumps(ordered, separators=(",", ":")).encode()
    return Layout(ordered, hashlib.sha256(text).digest(), zlib.compress(text))
