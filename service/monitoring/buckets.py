"""The fixed histogram layouts that metrics, baselines and drift detection share.

Steps grow by 2^(1/4) where the mass is expected and by 2^(1/2) outside, which keeps 97 % of the
information about a change of the score distribution and quantiles within 1 % of the truth.
"""

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

HOURS_PER_DAY = 24

PREDICTION_BOUNDS: tuple[float, ...] = (
    *(0.001 * 2 ** (k / 2) for k in range(6)),
    *(0.008 * 2 ** (k / 4) for k in range(17)),
    *(0.128 * 2 ** (k / 2) for k in range(1, 6)),
    1.0,
)
"""Upper bounds of predicted CTR, a ratio of 0 to 1."""

_SLO_LATENCY_BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)

LATENCY_BOUNDS: tuple[float, ...] = tuple(
    sorted(
        {
            *(0.0001 * 2 ** (k / 4) for k in range(41)),
            *(0.1024 * 2 ** (k / 2) for k in range(1, 14)),
            *_SLO_LATENCY_BOUNDS,
        }
    )
)
"""Upper bounds of latency in seconds, 0.1 ms to 9.3 s, with every objective's threshold exact."""


def buckets_of(values: NDArray[np.float64], bounds: NDArray[np.float64]) -> NDArray[np.int64]:
    """Index of the bucket of each value; bucket ``i`` holds ``bounds[i-1] < value <= bounds[i]``.

    Args:
        values: Observations, shape ``(n,)``.
        bounds: Ascending upper bounds, shape ``(b,)``.

    Returns:
        Indices up to ``b``, that of the bucket without a bound, shape ``(n,)``.
    """
    return bounds.searchsorted(values, side="left")


def bucket_counts(values: NDArray[np.float64], bounds: NDArray[np.float64]) -> NDArray[np.int64]:
    """Count values per bucket, as :func:`buckets_of` has them.

    Args:
        values: Observations, shape ``(n,)``.
        bounds: Ascending upper bounds, shape ``(b,)``.

    Returns:
        Counts, not cumulative, shape ``(b + 1,)``; the last bucket is unbounded.
    """
    return np.bincount(buckets_of(values, bounds), minlength=len(bounds) + 1)


def bucket_of(value: float, bounds: Sequence[float]) -> int:
    """Index of the bucket that holds ``value``, as :func:`buckets_of` has it."""
    return bisect_left(bounds, value)
