"""Writing one file of prometheus_client's multiprocess format, straight into its mapped memory.

The file begins with the number of its bytes that are used, an int32, padded to 8 bytes. Then come
entries: the length of the key as an int32, the key padded with spaces so that what follows is
aligned to 8 bytes, the value and the Unix seconds of its writing as doubles.
"""

import mmap
import os
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HEADER_BYTES = 8
DOUBLE_BYTES = 8
_LENGTH_BYTES = 4
_INITIAL_BYTES = 1 << 16
_SPARE_BYTES = 1 << 14
"""The file grows before less than this is left: what is created later finds room on a full disk."""


def padded_length(key_bytes: int) -> int:
    """Length of a key of ``key_bytes`` in the file, with its padding of 1 to 8 spaces."""
    return key_bytes + DOUBLE_BYTES - (key_bytes + _LENGTH_BYTES) % DOUBLE_BYTES


class MetricsFile:
    """The file of one kind of series in a living worker.

    A value that is written is there for every reader at once, and survives ``kill -9``. Readers
    need no lock: what an entry holds is written before the entry is counted as used, and the file
    only grows.
    """

    memory: "memoryview[float]"
    """The mapped file as doubles, for single values; another one after the file has grown."""
    doubles: NDArray[np.float64]
    """The same for values in bulk."""

    def __init__(self, path: Path) -> None:
        # Named once it has a header: no reader, and no fold after a crash, sees it without.
        unnamed = path.with_suffix(".db.new")
        self._descriptor = os.open(
            unnamed, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o644
        )
        self._places: dict[str, int] = {}
        self._used = HEADER_BYTES
        self._map(_INITIAL_BYTES)
        self._publish()
        unnamed.rename(path)

    def place(self, key: str, value: float, timestamp: float) -> int:
        """Find the place of the value of ``key``, its timestamp is at the next one.

        A key that is new gets an entry with ``value`` and ``timestamp``, in Unix seconds.

        Raises:
            OSError: There is no room for it, neither in the file nor on the disk.
        """
        if key not in self._places:
            encoded = key.encode()
            padded = encoded.ljust(padded_length(len(encoded)))
            entry = struct.pack(f"i{len(padded)}sdd", len(encoded), padded, value, timestamp)
            end = self._used + len(entry)
            self._make_room(end)
            self._bytes[self._used : end] = entry
            self._used = end
            self._publish()
            self._places[key] = end // DOUBLE_BYTES - 2
        return self._places[key]

    def close(self) -> None:
        """Let go of the file; nothing may be recorded any more."""
        os.close(self._descriptor)
        del self.memory, self.doubles, self._bytes

    def _make_room(self, end: int) -> None:
        while end + _SPARE_BYTES > self._capacity:
            try:
                self._map(2 * self._capacity)
            except OSError:
                if end > self._capacity:
                    raise
                return

    def _map(self, capacity: int) -> None:
        # The disk has the room before it is mapped: to write where it has none ends the process.
        os.posix_fallocate(self._descriptor, 0, capacity)
        # Mappings of one file share its memory: what is written through an earlier one is in it.
        mapped = mmap.mmap(self._descriptor, capacity)
        self._capacity = capacity
        self._bytes = memoryview(mapped)
        self.memory = self._bytes.cast("d")
        self.doubles = np.frombuffer(mapped, np.float64)

    def _publish(self) -> None:
        self._bytes[:_LENGTH_BYTES] = struct.pack("i", self._used)
