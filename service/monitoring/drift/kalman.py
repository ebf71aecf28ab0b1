"""Predicts the wander of tick means, so that what is left is news."""

import math
from dataclasses import dataclass

import numpy as np

from service.monitoring.drift.bank import Bank
from service.monitoring.drift.course import Standardised
from service.monitoring.drift.ticks import Floats

_LIMIT = 6.5
"""A prediction beyond so many of its own standard deviations is a change, not wander. At 4.5 a
Gaussian wander gets there every few months, and what lies beyond is then taken for news."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Filtered:
    """What was known before each tick."""

    predicted: Floats
    """Shape ``(t, c)``."""
    doubt: Floats
    """Variance of the wander about it, shape ``(t, c)``."""
    standing: Floats
    """Share of a shift that stood from the start which is still unpredicted, shape ``(t, c)``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    """A wander of variance 1 over the nominal ticks that one tick stands for."""

    end: float
    """Share of the level before that is left in the last of them."""
    mean: float
    """The same of their mean."""
    end_variance: float
    """Of what is new in the last of them."""
    mean_variance: float
    """Of what is new in their mean."""
    covariance: float
    """Of the two."""

    @classmethod
    def of(cls, decay: float, ticks: int) -> "_Span":
        powers = decay ** np.arange(ticks + 1.0)
        end, mean = float(powers[-1]), float(powers[1:].mean())
        lags = np.arange(1, ticks)
        both = (ticks + 2 * float((ticks - lags) @ powers[1:-1])) / ticks**2
        return cls(
            end=end,
            mean=mean,
            end_variance=1 - end**2,
            mean_variance=both - mean**2,
            covariance=float(powers[:-1].mean()) - end * mean,
        )


def wander_filter(
    bank: Bank,
    before: tuple[Floats, Floats, Floats],
    seen: Standardised,
    elapsed: Floats,
) -> tuple[tuple[Floats, Floats, Floats], Filtered]:
    """Run the filter over adjacent ticks.

    What a tick shows is the mean of the wander over its length, and what the next one starts from
    is the wander at its end. For a tick after missed ones the two differ.

    Args:
        bank: Whose wander.
        before: Per channel, shape ``(c,)`` each: the filtered wander, its variance, and the share
            of a shift of 1 that stood from the start which the filter takes for wander by now.
        seen: The ticks.
        elapsed: Length of each, in nominal ticks, shape ``(t,)``.

    Returns:
        The three after the last tick, and what was known before each.

    Source: Kalman (1960) for a first-order autoregression seen through sampling noise.
    """
    ticks, channels = seen.sums.shape
    predicted, doubts = np.zeros((ticks, channels)), np.zeros((ticks, channels))
    standing = np.ones((ticks, channels))
    level, doubt, taken = (values.copy() for values in before)
    length, count = elapsed.tolist(), seen.count.tolist()
    # Plain floats: a few operations per tick are faster so than on arrays of two or three.
    for channel in np.flatnonzero(bank.wander > 0):
        sums = seen.sums[:, channel].tolist()
        variance, decay = float(bank.wander[channel]), float(bank.decay[channel])
        x, p, y = float(level[channel]), float(doubt[channel]), float(taken[channel])
        spans = {s: _Span.of(decay, int(s)) for s in set(length)}
        known: list[tuple[float, float, float]] = []
        for ticks_in_one, n, total in zip(length, count, sums, strict=True):
            span = spans[ticks_in_one]
            mean, unseen = span.mean * x, 1.0 - span.mean * y
            spread = span.mean**2 * p + span.mean_variance * variance
            known.append((mean, spread, unseen))
            common = span.end * span.mean * p + span.covariance * variance
            x, y = span.end * x, span.end * y
            p = span.end**2 * p + span.end_variance * variance
            if n:
                gain = common * n / (spread * n + 1.0)
                x += gain * (total / n - mean)
                y += gain * unseen
                p = max(p - gain * common, 0.0)
                limit = _LIMIT * math.sqrt(max(variance - p, 0.0))
                x = min(max(x, -limit), limit)
        predicted[:, channel], doubts[:, channel], standing[:, channel] = np.array(known).T
        level[channel], doubt[channel], taken[channel] = x, p, y
    return (level, doubt, taken), Filtered(predicted=predicted, doubt=doubts, standing=standing)
