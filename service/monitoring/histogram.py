"""A histogram as counters hold it: cumulative buckets, the sum, and the sum of squares."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HistogramCounts:
    """Observations of one quantity over some span."""

    bounds: NDArray[np.float64]
    """Ascending upper bounds, the last one infinite, shape ``(b,)``."""
    cumulative: NDArray[np.float64]
    """Observations at or below each bound, shape ``(b,)``."""
    total: float
    """Sum of the observations."""
    total_of_squares: float

    @property
    def count(self) -> float:
        """Number of observations."""
        return float(self.cumulative[-1]) if len(self.cumulative) else 0.0

    @property
    def mean(self) -> float | None:
        """Exact mean; None without an observation."""
        return self.total / self.count if self.count else None

    @property
    def std(self) -> float | None:
        """Exact population standard deviation; None without an observation."""
        if not self.count:
            return None
        variance = self.total_of_squares / self.count - (self.total / self.count) ** 2
        return math.sqrt(max(variance, 0.0))

    def quantile(self, q: float) -> float | None:
        """Interpolated quantile, equal to PromQL's ``histogram_quantile`` on the same buckets.

        Above the last finite bound the answer is that bound.

        Args:
            q: Above 0, up to 1.

        Returns:
            None without an observation.

        Raises:
            ValueError: ``q`` is not in that range.

        Source: ``bucketQuantile`` in promql/quantile.go of Prometheus.
        """
        if not 0 < q <= 1:
            raise ValueError(f"a quantile is above 0 and at most 1, not {q}")
        if not self.count:
            return None
        rank = q * self.count
        last = len(self.bounds) - 1
        bucket = int(np.searchsorted(self.cumulative[:last], rank, side="left"))
        if bucket == last:
            return float(self.bounds[last - 1])
        end = float(self.bounds[bucket])
        if bucket == 0:
            return end if end <= 0 else end * (rank / float(self.cumulative[0]))
        start = float(self.bounds[bucket - 1])
        below = float(self.cumulative[bucket - 1])
        share = (rank - below) / (float(self.cumulative[bucket]) - below)
        return start + (end - start) * share
