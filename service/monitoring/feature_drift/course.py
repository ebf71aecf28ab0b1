"""What shares are to be expected at each hour, and how far from them nothing is wrong.

The null: at every moment, whatever came before, the expected share of each value lies in the
**zone** about the baseline's share at that time of day. The zone is wide for four reasons: a
change of two points is immaterial; the baseline is itself a sample; shares wander from hour to
hour and from day to day, as they did in the baseline; and users, ads and placements that training
has not seen become more with every day.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from service.monitoring.buckets import HOURS_PER_DAY
from service.monitoring.feature_drift.clock import (
    PERIODS,
    SECONDS_PER_HOUR,
    hour_of_day,
    name_of,
)
from service.monitoring.feature_drift.dispersion import (
    Floats,
    excess_variance,
    sampling_variance,
    trust,
)
from service.monitoring.feature_drift.distribution import FeatureDistribution

MATERIAL = 0.02
"""A change of a share by so much is nobody's concern."""
STANDARD_ERRORS = 3.0
SEEN, UNSEEN = "(seen)", "(unseen)"
GROWTH_OF_UNSEEN = {"ad": 0.25, "user": 0.1, "placement": 0.1}
"""How far the share that training has not seen may move within days: on real logs up to a quarter
of a day's rows are of new ads, and a tenth more of new users and placements than before."""
FEWEST_ROWS = 200
_PRIOR_ROWS = 100.0
"""The neighbouring hours count for so many rows of an hour's own."""
_FALLING = 4.0
"""An hour further away counts so many times less."""
_UNKNOWN_WANDER = 0.05
"""Between hours, where fewer than three were seen."""
_FEWEST_HOURS = 3
_FURTHEST = 4.0
"""Hours; shares of a day do not go further and further away."""
_MARGIN_SECONDS = 300.0
"""So near the full hour requests may name either hour: clocks differ, and a tick spans both."""
_LEAST_ROOM = 0.02


class UnusableFeatureError(ValueError):
    """The baseline cannot say what is normal for a feature; the message says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Expected:
    """Of one feature at one time, each of shape ``(v,)``."""

    shares: Floats
    low: Floats
    """The smallest share that is no change; 0 where any is."""
    high: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FeatureCourse:
    """The daily course of one feature's shares."""

    feature: str
    values: tuple[str, ...]
    """What the shares are of; of a feature that follows the clock, leads such as ``clock-1``."""
    shares: Floats
    """By UTC hour, shape ``(24, v)``."""
    zones: Floats
    """Half their width, shape ``(24, v)``."""
    wander: Floats
    """Standard deviation of the shares between hours beyond sampling noise, shape ``(v,)``."""
    unseen_rate: float | None
    """Of the whole baseline; None where the feature has no such value."""

    @classmethod
    def of(cls, feature: str, distribution: FeatureDistribution) -> Self:
        """Estimate the course.

        An hour's shares are drawn towards those of the hours around it, as if these were a
        hundred rows; an hour that was never seen has theirs, and a zone that is the wider the
        further away they are.

        Raises:
            UnusableFeatureError: The baseline has too few rows, or cannot judge the feature.
        """
        counts, values = _compared(feature, distribution)
        rows = counts.sum(axis=1)
        total = float(rows.sum())
        if total < FEWEST_ROWS:
            raise UnusableFeatureError(
                f"the baseline has {total:.0f} rows of it; {FEWEST_ROWS} are needed"
            )
        overall = (counts.sum(axis=0) + 0.5) / (total + 1)
        near, near_rows, near_error = _around(counts)
        wander = _wander(counts, near, near_error, overall)
        if distribution.day_std is not None and feature not in PERIODS:
            wander = distribution.day_std
        prior = np.minimum(_PRIOR_ROWS, near_rows)[:, None]
        known = rows[:, None] + prior
        shares = (counts + prior * near) / known
        drawn = known**2 / (rows[:, None] + prior**2 / np.maximum(near_rows, 1)[:, None])
        error = sampling_variance(shares.clip(1 / drawn, 1 - 1 / drawn), drawn)
        # The hour that is judged wanders, the baseline's did, and where that is another hour more.
        wanders = 1 + 1 / distribution.days + _distances(rows)
        spread = np.sqrt(error + wander**2 * wanders[:, None])
        return cls(
            feature=feature,
            values=values,
            shares=shares,
            zones=MATERIAL + STANDARD_ERRORS * spread + _growth(feature, values, shares),
            wander=wander,
            unseen_rate=float(overall[values.index(UNSEEN)]) if UNSEEN in values else None,
        )

    def at(self, time: float) -> Expected:
        """Give what is expected at a time in Unix seconds.

        Shares follow a line between the middles of hours. Leads of the clock do not change, but
        near the full hour each may also be the one beside it.
        """
        if self.feature in PERIODS:
            return self._beside_clock(time)
        place = time / SECONDS_PER_HOUR - 0.5
        part = place % 1
        hour = int(place // 1) % HOURS_PER_DAY
        shares, zones = (
            (1 - part) * of[hour] + part * of[(hour + 1) % HOURS_PER_DAY]
            for of in (self.shares, self.zones)
        )
        return _limits(shares, shares, shares, zones)

    def _beside_clock(self, time: float) -> Expected:
        since, hour = time % SECONDS_PER_HOUR, hour_of_day(time)
        shares, zones = self.shares[hour], self.zones[hour]
        step = (since > SECONDS_PER_HOUR - _MARGIN_SECONDS) - (since < _MARGIN_SECONDS)
        if not step:
            return _limits(shares, shares, shares, zones)
        other = self.shares[(hour + step) % HOURS_PER_DAY]
        turns = self.feature == "hour" or (hour, step) in {(0, -1), (HOURS_PER_DAY - 1, 1)}
        beside = np.roll(other, step) if turns else other
        return _limits(shares, np.zeros_like(shares), shares + beside, zones)


def _compared(feature: str, distribution: FeatureDistribution) -> tuple[Floats, tuple[str, ...]]:
    if feature not in PERIODS:
        return distribution.counts.astype(np.float64), distribution.values
    period = PERIODS[feature]
    if distribution.ahead is None:
        raise UnusableFeatureError(
            "the baseline does not know when its rows came; capture one from traffic, "
            "or train on logs with timestamps"
        )
    seen = int((distribution.counts.sum(axis=0) > 0).sum())
    needed = period if feature == "day_of_week" else 2
    if seen < needed:
        raise UnusableFeatureError(
            f"the baseline has seen {seen} of {period} values; {needed} are needed to tell "
            "whether it follows the clock"
        )
    names = tuple(name_of(lead, period) for lead in range(period))
    return distribution.ahead.astype(np.float64), names


def _around(counts: Floats) -> tuple[Floats, Floats, Floats]:
    """Shares of the other hours, the nearer the more; their rows; and the error's rows."""
    hours = np.arange(HOURS_PER_DAY)
    apart = np.abs(hours[:, None] - hours)
    apart = np.minimum(apart, HOURS_PER_DAY - apart)
    weights = np.where(apart > 0, _FALLING ** -(apart - 1.0), 0.0)
    rows = counts.sum(axis=1)
    total = weights @ rows
    seen = np.maximum(total, 1e-300)[:, None]
    effective = total**2 / np.maximum(weights**2 @ rows, 1e-300)
    error = (weights**2 @ rows**2) / np.maximum(total**2, 1e-300)
    return (weights @ counts) / seen, effective, error


def _wander(counts: Floats, near: Floats, near_share: Floats, overall: Floats) -> Floats:
    rows = counts.sum(axis=1)
    seen = rows > 0
    if seen.sum() < _FEWEST_HOURS:
        return np.asarray(np.minimum(_UNKNOWN_WANDER, np.sqrt(overall)))
    _, near_rows, _ = _around(counts)
    squares = (counts[seen] / rows[seen, None] - near[seen]) ** 2
    fewer = 1 / (1 / rows[seen] + 1 / near_rows[seen])
    return np.asarray(
        np.sqrt(
            excess_variance(
                squares,
                sampling_variance(overall, fewer[:, None]),
                trust(fewer[:, None]),
                1 + near_share[seen, None],
            )
        )
    )


def _distances(rows: Floats) -> Floats:
    """Hours between each hour and the nearest with rows of its own."""
    hours = np.arange(HOURS_PER_DAY)
    apart = np.abs(hours[:, None] - hours[rows >= min(_PRIOR_ROWS, float(rows.max()))])
    nearest = np.minimum(apart, HOURS_PER_DAY - apart).min(axis=1)
    return np.asarray(np.minimum(nearest, _FURTHEST).astype(np.float64))


def _growth(feature: str, values: tuple[str, ...], shares: Floats) -> Floats:
    """How far the unseen may move; what was seen moves with it, in proportion."""
    if feature not in GROWTH_OF_UNSEEN or UNSEEN not in values:
        return np.zeros_like(shares)
    most = GROWTH_OF_UNSEEN[feature]
    whole = np.isin(values, (SEEN, UNSEEN))
    return np.asarray(np.where(whole, most, most * shares))


def _limits(shares: Floats, low: Floats, high: Floats, zones: Floats) -> Expected:
    low, high = low - zones, high + zones
    return Expected(
        shares=shares,
        low=np.where(low > _LEAST_ROOM, low, 0.0),
        high=np.where(high < 1 - _LEAST_ROOM, high, 1.0),
    )
