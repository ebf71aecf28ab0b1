"""Merging what several workers hold, by the rule that the kind of their files stands for."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.monitoring.catalogue import Merge
from service.telemetry.stored_file import Part


class Totals(NamedTuple):
    """Values of all series, merged over workers."""

    parts: tuple[Part, ...]
    """One of each kind of file."""
    unreadable_files: int

    @property
    def keys(self) -> tuple[tuple[str, ...], ...]:
        """Keys of each part; they hold the same objects while the series are the same."""
        return tuple(part.keys for part in self.parts)

    @property
    def last_written(self) -> float:
        """When a worker last wrote anything, in Unix seconds; 0 where none ever did."""
        return max((float(part.timestamps.max(initial=0.0)) for part in self.parts), default=0.0)


class Merger:
    """Merges again and again; where each value goes is found once for the same series."""

    def __init__(self) -> None:
        self._placed: dict[str, _Placement] = {}

    def merge(self, parts: Sequence[Part]) -> Iterator[Part]:
        """Merge parts to one of each kind, in the order in which the kinds come up."""
        groups: dict[str, list[Part]] = {}
        for part in parts:
            groups.setdefault(part.prefix, []).append(part)
        for prefix, group in groups.items():
            yield group[0] if len(group) == 1 else self._merged(prefix, group)

    def _merged(self, prefix: str, group: Sequence[Part]) -> Part:
        sources = tuple(part.keys for part in group)
        placement = self._placed.get(prefix)
        if placement is None or placement.sources != sources:
            placement = self._placed[prefix] = _Placement.of(sources)
        values = placement.table([part.values for part in group], missing=_MISSING.get(prefix, 0.0))
        timestamps = placement.table([part.timestamps for part in group], missing=-np.inf)
        match prefix.removeprefix("gauge_"):
            case Merge.MIN:
                merged = values.min(axis=0)
            case Merge.MAX | Merge.LIVE_MAX:
                merged = values.max(axis=0)
            case Merge.LATEST:
                merged = values[timestamps.argmax(axis=0), np.arange(values.shape[1])]
            case _:
                merged = values.sum(axis=0)
        return Part(prefix, placement.keys, merged, timestamps.max(axis=0))


_MISSING = {
    f"gauge_{Merge.MIN}": np.inf,
    f"gauge_{Merge.MAX}": -np.inf,
    f"gauge_{Merge.LIVE_MAX}": -np.inf,
}
"""What changes nothing, in place of a series that a worker does not have; else zero."""


class _Placement(NamedTuple):
    sources: tuple[tuple[str, ...], ...]
    keys: tuple[str, ...]
    """Those of all sources."""
    columns: tuple[NDArray[np.int64], ...]
    """For each source the places of its keys."""

    @classmethod
    def of(cls, sources: tuple[tuple[str, ...], ...]) -> "_Placement":
        place = {key: i for i, key in enumerate(dict.fromkeys(chain(*sources)))}
        columns = (np.array([place[key] for key in keys], dtype=np.int64) for keys in sources)
        return cls(sources, tuple(place), tuple(columns))

    def table(
        self, of_sources: Sequence[NDArray[np.float64]], *, missing: float
    ) -> NDArray[np.float64]:
        table = np.full((len(self.sources), len(self.keys)), missing)
        for row, columns, found in zip(table, self.columns, of_sources, strict=True):
            row[columns] = found
        return table
