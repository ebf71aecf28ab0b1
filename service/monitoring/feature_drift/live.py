"""How much the shares of five minutes vary in the traffic that is judged itself."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from service.monitoring.feature_drift.dispersion import Floats, sampling_variance

LAG_BLOCKS = 6
"""Shares half an hour apart are compared: a burst that lasts so long is variance, while a change
that stays is in so many differences only."""
_FADING = 1 - 1 / 576
"""Per block of five minutes: two days."""
_PRIOR_BLOCKS = 24.0
"""The baseline's wander counts for so many blocks."""
_LEAST_WANDER = 0.003
_MOST_MOVED = 0.2
"""Counted of a difference, or a gross change would for two days pass for a wild traffic's own."""
_GUARD = 1.5
"""The variance may be so many times what was estimated."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SharesBeside:
    """A block beside what was expected of it, each of shape ``(v,)``."""

    rows: Floats
    """Of each value's feature."""
    counts: Floats
    expected: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dispersion:
    """Sums over pairs of blocks half an hour apart, of which older ones fade."""

    weight: float
    excess: Floats
    """Squared deviations beyond sampling noise, shape ``(v,)``."""
    ratio: Floats
    """Squared deviations in units of sampling noise, shape ``(v,)``."""

    @classmethod
    def none(cls, size: int) -> Self:
        """Before the first pair."""
        return cls(weight=0.0, excess=np.zeros(size), ratio=np.zeros(size))

    def with_pair(self, now: SharesBeside, before: SharesBeside) -> "Dispersion":
        """Take a pair in: half the squared difference is one block's variance."""
        both = (now.rows > 0) & (before.rows > 0)
        if not both.any():
            return self
        rows, rows_before = np.maximum(now.rows, 1), np.maximum(before.rows, 1)
        moved = now.counts / rows - now.expected - (before.counts / rows_before - before.expected)
        moved = moved.clip(-_MOST_MOVED, _MOST_MOVED)
        fewer = 2 / (1 / rows + 1 / rows_before)
        least = np.minimum(1 / (2 * fewer), 0.5)
        middle = ((now.expected + before.expected) / 2).clip(least, 1 - least)
        noise = sampling_variance(middle, fewer)
        squares = np.where(both, moved**2 / 2, noise)
        return Dispersion(
            weight=_FADING * self.weight + 1,
            excess=_FADING * self.excess + squares - noise,
            ratio=_FADING * self.ratio + squares / noise,
        )

    def variance_of(self, limits: Floats, rows: Floats, wander: Floats) -> Floats:
        """Variance of a block's shares: sampling, and what came on top of it in the past days.

        The excess is taken for a wander, which does not depend on the rows, and for clusters,
        which go with them; the greater counts.

        Args:
            limits: The shares, shape ``(2, v)``; 1 where nothing is betted.
            rows: Of each value's feature, shape ``(v,)``.
            wander: Standard deviation in the baseline, shape ``(v,)``; counts until enough was
                seen.
        """
        noise = sampling_variance(limits, np.maximum(rows, 1))
        known = _PRIOR_BLOCKS + self.weight
        prior = np.maximum(wander, _LEAST_WANDER) ** 2
        excess = (_PRIOR_BLOCKS * prior + self.excess) / known
        ratio = (_PRIOR_BLOCKS + self.ratio) / known
        wandering = noise + _GUARD * np.maximum(excess, _LEAST_WANDER**2)
        clustered = noise * np.maximum(_GUARD * ratio, 1.0)
        return np.where(limits < 1, np.maximum(wandering, clustered), 1.0)
