"""Reading one metrics file again and again: its keys are parsed once, its values are gathered."""

import errno
import os
import struct
import sys
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from service.telemetry.keys import parsed_key
from service.telemetry.metrics_file import DOUBLE_BYTES, HEADER_BYTES, padded_length

UNREADABLE = (
    *(OSError, struct.error, ValueError, KeyError, TypeError),
    *(OverflowError, RecursionError),  # of JSON that nobody has written
)
"""What a file that is damaged makes its reader raise."""
_SHORTAGES = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}
_GAUGE = "gauge"
_TOO_MANY = 2.0**63
_LENGTH = struct.Struct("i")
_ENTRY_VALUES_BYTES = 2 * DOUBLE_BYTES
_FIRST_BYTES = 1 << 16


def is_shortage(error: Exception) -> bool:
    """Tell whether a file could not be read for want of something, which says nothing of the file.

    To leave it out would be a number that falls, and rises again when there is enough.
    """
    return isinstance(error, OSError) and error.errno in _SHORTAGES


class Part(NamedTuple):
    """Series that are merged by one rule: those of a file, or merged ones."""

    prefix: str
    """Kind of file, which says how its series are merged."""
    keys: tuple[str, ...]
    """The same object for as long as the series are the same."""
    values: NDArray[np.float64]
    timestamps: NDArray[np.float64]
    """When they were written, in Unix seconds."""

    def checked(self) -> Self:
        """Give the part itself.

        Raises:
            ValueError: It holds what nobody can have counted.
        """
        if not np.isfinite(self.timestamps).all():
            raise ValueError("a time is none")
        if self.prefix.startswith(_GAUGE) or not len(self.values):
            return self
        # Not a number is neither.
        if not (self.values.min() >= 0 and self.values.max() < _TOO_MANY):
            raise ValueError("a count is none")
        return self


class StoredFile:
    """A metrics file of any worker.

    The whole file is read each time: a mapping of a file that is cut short would end the process.
    """

    def __init__(self, path: Path, prefix: str) -> None:
        self._path = path
        self._prefix = prefix
        self._buffer = bytearray(_FIRST_BYTES)
        self._keys: tuple[str, ...] = ()
        self._places = np.empty((0, 2), dtype=np.int64)
        self._rest = b""
        """The used bytes without the values."""

    def read(self) -> Part:
        """Read what is in the file now.

        Raises:
            OSError: It cannot be read.
            ValueError: It is damaged.
        """
        used = self._load()
        pairs = self._taken_out()
        if self._buffer[:used] != self._rest:
            used = self._load()
            self._keys, self._places = _parsed(self._buffer, used)
            pairs = self._taken_out()
            self._rest = bytes(self._buffer[:used])
        return Part(self._prefix, self._keys, pairs[:, 0], pairs[:, 1]).checked()

    def _load(self) -> int:
        """Fill the buffer; the result is how many of its bytes are used."""
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            length = os.preadv(descriptor, [self._buffer], 0)
            if _used(self._buffer, length) > length:
                # Never a smaller one: the places are those of the last good reading.
                size = max(os.fstat(descriptor).st_size, len(self._buffer))
                self._buffer = bytearray(size)
                length = os.preadv(descriptor, [self._buffer], 0)
        finally:
            os.close(descriptor)
        used = _used(self._buffer, length)
        if used > length:
            raise ValueError(f"{self._path.name} is cut short")
        return used

    def _taken_out(self) -> NDArray[np.float64]:
        """Take values and timestamps out of the buffer, shape ``(series, 2)``."""
        doubles = np.frombuffer(self._buffer, np.float64)
        pairs = doubles[self._places]
        doubles[self._places] = 0.0
        return pairs


def _used(buffer: bytearray, length: int) -> int:
    used = int.from_bytes(buffer[: _LENGTH.size], sys.byteorder, signed=True)
    if length < HEADER_BYTES or used < HEADER_BYTES:
        raise ValueError("the file's header is damaged")
    return used


def _parsed(buffer: bytearray, used: int) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Find keys and the places of values and timestamps, counted in doubles."""
    keys: dict[str, int] = {}
    start = HEADER_BYTES
    while start < used:
        (length,) = _LENGTH.unpack_from(buffer, start)
        start += _LENGTH.size
        value = start + padded_length(length)
        if length <= 0 or value + _ENTRY_VALUES_BYTES > used:
            raise ValueError("a key of the file is damaged")
        key = buffer[start : start + length].decode()
        if key in keys:
            raise ValueError("a key of the file is there twice")
        keys[parsed_key(key).text] = value // DOUBLE_BYTES
        start = value + _ENTRY_VALUES_BYTES
    places = np.fromiter(keys.values(), np.int64, len(keys))
    return tuple(keys), places[:, None] + np.arange(2)
