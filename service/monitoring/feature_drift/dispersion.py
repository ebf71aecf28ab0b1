"""How much shares move beyond what drawing rows one by one explains."""

import numpy as np
from numpy.typing import NDArray

from service.monitoring.buckets import HOURS_PER_DAY

Floats = NDArray[np.float64]

HALF_TRUSTED_ROWS = 300.0
"""An hour of so many rows counts half as much as one of very many."""
_MIN_PAIRS = 6


def excess_variance(
    squares: Floats, sampling: Floats, weights: Floats, wanders: Floats | float
) -> Floats:
    """Variance of shares beyond sampling noise, raised by a standard error of that noise.

    Rows are not independent draws: a campaign or a heavy user brings many at once. What squared
    differences of shares hold beyond the variance of independent draws is that over-dispersion.

    Args:
        squares: Squared differences, shape ``(k, v)``.
        sampling: Their expectation if rows were independent, shape ``(k, v)``.
        weights: Of each difference, shape ``(k, 1)``.
        wanders: How many times the wanted variance a difference holds, shape ``(k, 1)``.

    Returns:
        Shape ``(v,)``.

    Source: method of moments for over-dispersed counts, as McCullagh & Nelder, *Generalized
    Linear Models* (1989), section 4.5.
    """
    total = np.sum(np.broadcast_to(weights * wanders, sampling.shape), axis=0)
    found = np.sum(weights * (squares - sampling), axis=0) / total
    # A squared Gaussian difference has twice its squared variance as variance.
    noise = np.sqrt(2 * np.sum((weights * sampling) ** 2, axis=0)) / total
    return np.asarray(np.maximum(found, 0.0) + noise)


def trust(rows: Floats) -> Floats:
    """Weight of hours by their rows: few say little, and beyond some hundreds all say the same."""
    return np.asarray(rows / (rows + HALF_TRUSTED_ROWS))


def sampling_variance(shares: Floats, rows: Floats) -> Floats:
    """Variance of a share if rows were independent draws; ``rows`` must be positive."""
    return np.asarray(shares * (1 - shares) / rows)


def day_to_day_std(hours: NDArray[np.int64], counts: NDArray[np.int64]) -> Floats | None:
    """How far a value's share in one hour is from the same hour of other days.

    Args:
        hours: Since the Unix epoch, ascending, shape ``(k,)``.
        counts: Rows per hour and value, shape ``(k, v)``.

    Returns:
        Standard deviation beyond sampling noise, shape ``(v,)``; None where fewer than six hours
        have another day's to be compared with.
    """
    rows = counts.sum(axis=1).astype(np.float64)
    seen = np.flatnonzero(rows > 0)
    order = seen[np.lexsort((hours[seen], hours[seen] % HOURS_PER_DAY))]
    follows = np.flatnonzero(np.diff(hours[order] % HOURS_PER_DAY) == 0)
    early, late = order[follows], order[follows + 1]
    if len(early) < _MIN_PAIRS:
        return None
    shares = counts / np.maximum(rows, 1)[:, None]
    middle = (counts[early] + counts[late] + 0.5) / (rows[early] + rows[late] + 1)[:, None]
    fewer = 1 / (1 / rows[early] + 1 / rows[late])[:, None]
    squares = (shares[early] - shares[late]) ** 2
    return np.asarray(
        np.sqrt(excess_variance(squares, sampling_variance(middle, fewer), trust(fewer), 2.0))
    )
