"""What is stored as bytes, small and without loss.

Of counters the series are stored once per distinct set, the values apart.
"""

import hashlib
import json
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from service.monitoring.counters import Counters, Layout, Places
from service.monitoring.snapshot import Series

_VALUE = np.dtype("<f8")
_BITS = np.dtype("<u8")


class StoredLayout(NamedTuple):
    """The series of a snapshot, in the order in which their values are stored."""

    order: Places
    """Where each of them is in the snapshot."""
    digest: bytes
    content: bytes


def stored_layout(series: Sequence[Series]) -> StoredLayout:
    """Sort the series; digest and content are equal for every order of the same series."""
    order = sorted(range(len(series)), key=series.__getitem__)
    text = json.dumps([series[place] for place in order], separators=(",", ":")).encode()
    return StoredLayout(
        np.array(order, dtype=np.intp), hashlib.sha256(text).digest(), zlib.compress(text)
    )


def encode_values(counters: Counters, layout: StoredLayout) -> bytes:
    """Pack the values, bit for bit, in the layout's order.

    Neighbours (the buckets of a histogram) are alike, so the differences of their bit patterns,
    first bytes first, pack a third smaller than the values; unlike those of floats they are exact.
    """
    values = counters.array[layout.order].astype(_VALUE, copy=False)
    differences = np.diff(values.view(_BITS), prepend=_BITS.type(0))
    return zlib.compress(differences.view(np.uint8).reshape(-1, _BITS.itemsize).T.tobytes())


def decode_series(content: bytes) -> tuple[Series, ...]:
    """Read what `Layout.content` holds.

    Raises:
        ValueError: It is damaged.
    """
    try:
        return tuple(
            Series(name, tuple((label, value) for label, value in labels))
            for name, labels in json.loads(zlib.decompress(content))
        )
    except (zlib.error, ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"the series are damaged: {error}") from error


def decode_counters(layout: Layout, content: bytes) -> Counters:
    """Unpack values that were stored in the order of ``layout``.

    Raises:
        ValueError: There are more values than series, or fewer, or they are damaged.
    """
    try:
        unpacked = zlib.decompress(content)
    except zlib.error as error:
        raise ValueError(f"the values are damaged: {error}") from error
    planes = np.frombuffer(unpacked, dtype=np.uint8).reshape(_BITS.itemsize, -1)
    if planes.shape[1] != len(layout):
        raise ValueError(f"{planes.shape[1]} values are stored for {len(layout)} series")
    differences = np.ascontiguousarray(planes.T).view(_BITS).reshape(-1)
    return Counters(layout, np.cumsum(differences, dtype=_BITS).view(_VALUE))


def encode_text(text: str) -> bytes:
    """Pack a text of which much repeats itself."""
    return zlib.compress(text.encode())


def decode_text(content: bytes) -> str:
    """Read what :func:`encode_text` wrote.

    Raises:
        ValueError: It is damaged.
    """
    try:
        return zlib.decompress(content).decode()
    except zlib.error as error:
        raise ValueError(f"the text is damaged: {error}") from error
