"""The daily course of a quantity, no finer than the data behind it can tell."""

import math
from dataclasses import dataclass

import numpy as np

from service.monitoring.buckets import HOURS_PER_DAY
from service.monitoring.drift.ticks import Floats

SECONDS_PER_DAY = 86_400.0
_POINTS = 288
"""Five minutes apart; straight lines between them."""
_RADIANS_PER_HOUR = 2 * math.pi / HOURS_PER_DAY
_MOST_HARMONICS = 4
_TOLERANCE = 3.0
"""A fit is refused where its residue is this many standard deviations above what chance leaves."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Profile:
    """A function of the time of day."""

    table: Floats
    """Values five minutes apart, the first one repeated at the end, shape ``(289,)``."""
    parameters: int
    """How many numbers were fitted; 1 is a flat line."""

    @property
    def flat(self) -> bool:
        """Whether the time of day says nothing."""
        return self.parameters == 1

    def at(self, time: Floats) -> Floats:
        """Value at Unix seconds, shape as ``time``."""
        place = (time % SECONDS_PER_DAY) * (_POINTS / SECONDS_PER_DAY)
        before = place.astype(np.int64)
        rest = place - before
        return self.table[before] * (1.0 - rest) + self.table[before + 1] * rest


def constant(value: float) -> Profile:
    """Return the same at any time."""
    return Profile(table=np.full(_POINTS + 1, value), parameters=1)


def fit(values: Floats, errors: Floats) -> Profile:
    """Fit the daily course through 24 hourly means.

    The fewest harmonics of the day that leave no more than chance would; where four do not
    suffice, straight lines between the middles of the hours.

    Args:
        values: Mean per hour of the day, NaN where there was none, shape ``(24,)``.
        errors: Standard error of each, shape ``(24,)``.
    """
    known = np.isfinite(values) & np.isfinite(errors) & (errors > 0)
    if not known.any():
        raise ValueError("no hour of the day has data")
    middles = np.linspace(0.5, HOURS_PER_DAY - 0.5, HOURS_PER_DAY) * _RADIANS_PER_HOUR
    grid = np.linspace(0, 2 * math.pi, _POINTS + 1)
    weights = 1.0 / errors[known]
    for harmonics in range(_MOST_HARMONICS + 1):
        free = int(known.sum()) - (2 * harmonics + 1)
        if free < 1 and harmonics:
            break
        basis = _harmonics(middles[known], harmonics, averaged=True)
        solution = np.linalg.lstsq(basis * weights[:, None], values[known] * weights)[0]
        residue = float((((values[known] - basis @ solution) * weights) ** 2).sum())
        if residue <= free + _TOLERANCE * math.sqrt(2 * max(free, 1)):
            table = _harmonics(grid, harmonics, averaged=False) @ solution
            return Profile(table=table, parameters=2 * harmonics + 1)
    lines = np.interp(grid, middles[known], values[known], period=2 * math.pi)
    return Profile(table=lines, parameters=int(known.sum()))


def _harmonics(angles: Floats, order: int, *, averaged: bool) -> Floats:
    """Design matrix; hourly means are damped by the average over their hour, which is undone."""
    columns = [np.ones_like(angles)]
    for k in range(1, order + 1):
        half = k * math.pi / HOURS_PER_DAY
        damping = math.sin(half) / half if averaged else 1.0
        columns += [np.cos(k * angles) * damping, np.sin(k * angles) * damping]
    return np.stack(columns, axis=1)
