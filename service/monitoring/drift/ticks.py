"""What a detector sees: per tick and quantity a count, a sum, a sum of squares, and buckets."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from service.monitoring.counts import ModelCounts
from service.monitoring.histogram import HistogramCounts

Floats = NDArray[np.float64]

TICK_SECONDS = 15.0
"""Nominal length of a tick; a longer one counts as so many."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Aggregates:
    """One quantity over ``t`` ticks."""

    total: Floats
    """Sum of the observations, shape ``(t,)``."""
    squares: Floats
    """Sum of their squares, shape ``(t,)``."""
    buckets: Floats
    """Observations per bucket, not cumulative, shape ``(t, b)``."""
    bounds: Floats
    """Ascending finite upper bounds of all buckets but the last, shape ``(b - 1,)``."""

    @property
    def count(self) -> Floats:
        """Number of observations, shape ``(t,)``; the sum of the buckets, so they cannot differ."""
        return np.asarray(self.buckets.sum(axis=1))

    @classmethod
    def of(cls, histogram: HistogramCounts) -> Self:
        """One tick from the growth of a histogram."""
        return cls(
            total=np.array([histogram.total]),
            squares=np.array([histogram.total_of_squares]),
            buckets=np.diff(histogram.cumulative, prepend=0.0).clip(min=0.0)[None, :],
            bounds=histogram.bounds[:-1],
        )

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """One after the other; at least one, all with the same bounds."""
        return cls(
            total=np.concatenate([part.total for part in parts]),
            squares=np.concatenate([part.squares for part in parts]),
            buckets=np.concatenate([part.buckets for part in parts]),
            bounds=parts[0].bounds,
        )

    def part(self, ticks: slice) -> Self:
        """Some of the ticks."""
        return type(self)(
            total=self.total[ticks],
            squares=self.squares[ticks],
            buckets=self.buckets[ticks],
            bounds=self.bounds,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ticks:
    """Adjacent ticks of one model; a single one as well as a month."""

    time: Floats
    """End of each tick in Unix seconds, ascending, shape ``(t,)``."""
    predictions: Aggregates
    latency: Aggregates

    @classmethod
    def of(cls, counts: ModelCounts, *, end: float) -> Self:
        """One tick from the growth of a model's counters between two snapshots.

        Args:
            counts: The growth, resets already told apart by the window.
            end: When the later snapshot was taken, in Unix seconds.
        """
        return cls(
            time=np.array([end]),
            predictions=Aggregates.of(counts.predictions),
            latency=Aggregates.of(counts.durations),
        )

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """One after the other; at least one, all with the same bounds."""
        return cls(
            time=np.concatenate([part.time for part in parts]),
            predictions=Aggregates.joined([part.predictions for part in parts]),
            latency=Aggregates.joined([part.latency for part in parts]),
        )

    def part(self, ticks: slice) -> Self:
        """Some of the ticks."""
        return type(self)(
            time=self.time[ticks],
            predictions=self.predictions.part(ticks),
            latency=self.latency.part(ticks),
        )

    def __len__(self) -> int:
        return len(self.time)
