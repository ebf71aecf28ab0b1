"""The fold: what dead workers of an epoch counted, summed up in one file."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from service.telemetry.keys import parsed_key
from service.telemetry.stored_file import UNREADABLE, Part, is_shortage


class Folded(NamedTuple):
    """What the file says."""

    parts: tuple[Part, ...] = ()
    files: frozenset[str] = frozenset()
    """Names of the workers' files that are in the sum."""
    unreadable: bool = False
    """Whether the file is damaged; then it says nothing."""


class FoldFile:
    """Reads the file again and again; parses it only when it has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._content = b""
        self._folded = Folded(unreadable=True)

    def read(self) -> Folded:
        """Read what is folded now; nothing where there was no fold yet.

        Raises:
            OSError: There are not enough descriptors or there is not enough memory to read it.
        """
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return Folded()
        except OSError as error:
            if is_shortage(error):
                raise
            return Folded(unreadable=True)
        if content != self._content:
            self._folded = _parsed(content)
            self._content = content
        return self._folded

    def write(self, parts: Iterable[Part], files: Iterable[str]) -> None:
        """Replace the file; the rename is the commit."""
        readings = {
            part.prefix: dict(
                zip(
                    part.keys,
                    np.column_stack((part.values, part.timestamps)).tolist(),
                    strict=True,
                )
            )
            for part in parts
        }
        temporary = self._path.with_name(f"{self._path.name}.new")
        with temporary.open("w") as handle:
            json.dump({"files": [*files], "readings": readings}, handle)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.rename(self._path)


def _parsed(content: bytes) -> Folded:
    try:
        said = json.loads(content)
        parts = tuple(_part(prefix, series) for prefix, series in said["readings"].items())
        return Folded(parts, frozenset(said["files"]))
    except (*UNREADABLE, AttributeError):
        return Folded(unreadable=True)


def _part(prefix: str, series: Mapping[str, tuple[float, float]]) -> Part:
    pairs = np.array([*series.values()], dtype=np.float64).reshape(len(series), 2)
    keys = tuple(parsed_key(key).text for key in series)
    return Part(prefix, keys, pairs[:, 0], pairs[:, 1]).checked()
