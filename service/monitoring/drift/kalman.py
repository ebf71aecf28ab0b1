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


def wander_filter(
    bank: Bank, level: Floats, doubt: Floats, seen: Standardised, elapsed: Floats
) -> tuple[Floats, Floats, Filtered]:
    """Run the filter over adjacent ticks.

    Args:
        bank: Whose wander.
        level: Filtered wander per channel, shape ``(c,)``.
        doubt: Its variance, shape ``(c,)``.
        seen: The ticks.
        elapsed: Length of each, in nominal ticks, shape ``(t,)``.

    Returns:
        The level and the doubt after the last tick, and what was known before each.

    Source: Kalman (1960) for a first-order autoregression seen through sampling noise.
    """
    ticks, channels = seen.sums.shape
    predicted, doubts = np.zeros((ticks, channels)), np.zeros((ticks, channels))
    level, doubt = level.copy(), doubt.copy()
    length, count = elapsed.tolist(), seen.count.tolist()
    # Plain floats: a few operations per tick are faster so than on arrays of two or three.
    for channel in np.flatnonzero(bank.wander > 0):
        sums = seen.sums[:, channel].tolist()
        variance, decay = float(bank.wander[channel]), float(bank.decay[channel])
        x, p = float(level[channel]), float(doubt[channel])
        before: list[tuple[float, float]] = []
        for span, n, total in zip(length, count, sums, strict=True):
            fading = decay**span
            x *= fading
            p = variance + (p - variance) * fading * fading
            before.append((x, p))
            if n:
                gain = p * n / (p * n + 1.0)
                x += gain * (total / n - x)
                p *= 1.0 - gain
                limit = _LIMIT * math.sqrt(max(variance - p, 0.0))
                x = min(max(x, -limit), limit)
        predicted[:, channel], doubts[:, channel] = np.array(before).T
        level[channel], doubt[channel] = x, p
    return level, doubt, Filtered(predicted=predicted, doubt=doubts)
