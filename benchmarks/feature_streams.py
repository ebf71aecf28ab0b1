"""Simulated requests as counters see them: values of features per tick of 15 s.

Rows are no independent draws. Shares have a daily course, wander within hours and differ between
days; campaigns bring many rows of one placement, one device and one ad; heavy users many rows of
one user. New ads come up during the day.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.monitoring.drift.ticks import TICK_SECONDS
from service.monitoring.feature_drift.clock import PERIODS, clock
from service.monitoring.feature_drift.distribution import FeatureDistribution

Floats = NDArray[np.float64]
Shares = dict[str, Floats]
"""Of each feature, shape ``(ticks, values)``."""

TICKS_PER_DAY = 5760
MONDAY = 1_767_571_200.0
"""2026-01-05 00:00 UTC."""
VALUES = {
    "user": ("(seen)", "(unseen)"),
    "ad": ("(seen)", "(unseen)"),
    "device": ("mobile", "desktop", "tablet", "(other)", "(unseen)"),
    "placement": (*(f"p{i}" for i in range(10)), "(other)", "(unseen)"),
    "hour": tuple(map(str, range(24))),
    "day_of_week": tuple(map(str, range(7))),
}
MIX = {
    "user": (0.6, 0.4),
    "ad": (0.97, 0.03),
    "device": (0.6, 0.3, 0.08, 0.015, 0.005),
    "placement": (0.22, 0.18, 0.14, 0.11, 0.09, 0.07, 0.05, 0.04, 0.03, 0.02, 0.03, 0.02),
}
NEW = {"user": 1, "ad": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What is normal."""

    rows_per_tick: float = 300.0
    traffic_swing: float = 0.6
    """Of the rows, over the day."""
    course: float = 0.3
    """Amplitude of the daily course, of the logarithm of shares."""
    wander: float = 0.0
    """Standard deviation of the logarithm of shares."""
    wander_seconds: float = 3600.0
    day: float = 0.0
    """Standard deviation between days, of the same."""
    campaigns_per_day: float = 0.0
    campaign_share: float = 0.25
    """Greatest share of the rows; durations are 5 to 40 minutes."""
    heavy_users_per_day: float = 0.0
    heavy_user_share: float = 0.05
    """Greatest share of the rows; durations are 1 to 15 minutes."""
    new_ads: float = 0.05
    """Rise of their share within a day."""


Change = Callable[[Shares, Floats], None]
"""Alters shares in place, given the times of the ticks."""


class Traffic:
    """One world's rows, day by day; the phases of its daily course are fixed by the seed."""

    def __init__(self, world: World, seed: int) -> None:
        self._world = world
        self._rng = np.random.default_rng(seed)
        self._phases = {
            feature: self._rng.uniform(0, 2 * np.pi, len(mix)) for feature, mix in MIX.items()
        }

    def day(self, start: float, change: Change | None = None) -> Iterator["Tick"]:
        """Give the ticks of one day."""
        time = start + TICK_SECONDS * np.arange(1.0, TICKS_PER_DAY + 1)
        shares = self._shares(time)
        if change is not None:
            change(shares, time)
        angle = 2 * np.pi * (time % 86_400) / 86_400
        rate = self._world.rows_per_tick * (1 - self._world.traffic_swing * np.cos(angle))
        rows = self._rng.poisson(rate)
        counts = {f: self._rng.multinomial(rows, part) for f, part in shares.items()}
        for t, end in enumerate(time.tolist()):
            yield Tick(end, {f: drawn[t] for f, drawn in counts.items()})

    def _shares(self, time: Floats) -> Shares:
        world, rng = self._world, self._rng
        angle = 2 * np.pi * (time % 86_400) / 86_400
        shares: Shares = {}
        for feature, mix in MIX.items():
            logs = np.log(mix) + world.course * np.cos(angle[:, None] - self._phases[feature])
            logs = logs + world.day * rng.standard_normal(len(mix))
            if world.wander:
                logs = logs + world.wander * _wander(rng, len(time), len(mix), world.wander_seconds)
            if feature == "ad":
                logs[:, 1] += np.log1p(world.new_ads / mix[1] * (time % 86_400) / 86_400)
            odds = np.exp(logs)
            shares[feature] = odds / odds.sum(axis=1, keepdims=True)
        for _ in range(rng.poisson(world.campaigns_per_day)):
            span, share = self._burst(5, 40, world.campaign_share)
            for feature in ("device", "placement", "ad"):
                _concentrate(
                    shares[feature], span, int(rng.choice(len(MIX[feature]), p=MIX[feature])), share
                )
        for _ in range(rng.poisson(world.heavy_users_per_day)):
            span, share = self._burst(1, 15, world.heavy_user_share)
            for feature in ("user", "device", "placement"):
                _concentrate(
                    shares[feature], span, int(rng.choice(len(MIX[feature]), p=MIX[feature])), share
                )
        for feature, period in PERIODS.items():
            now = np.array([clock(feature, t) for t in (time - TICK_SECONDS / 2).tolist()])
            shares[feature] = np.eye(period)[now]
        return shares

    def _burst(self, shortest: float, longest: float, share: float) -> tuple[slice, float]:
        begin = int(self._rng.integers(TICKS_PER_DAY))
        ticks = int(self._rng.uniform(shortest, longest) * 4)
        return slice(begin, begin + ticks), float(self._rng.uniform(share / 5, share))


@dataclass(frozen=True, slots=True)
class Tick:
    """What was counted in 15 s."""

    end: float
    counts: Mapping[str, NDArray[np.int64]]
    """By feature, in the order of ``VALUES``."""

    def by_value(self) -> dict[tuple[str, str], float]:
        """As the detector takes it."""
        return {
            (feature, value): float(count)
            for feature, drawn in self.counts.items()
            for value, count in zip(VALUES[feature], drawn.tolist(), strict=True)
        }


def baseline(traffic: Traffic, *, start: float, days: float) -> dict[str, FeatureDistribution]:
    """Add up traffic as a capture would."""
    hours: dict[int, dict[str, NDArray[np.int64]]] = {}
    for day in range(int(np.ceil(days))):
        for tick in traffic.day(start + 86_400 * day):
            if tick.end - start > 86_400 * days:
                break
            hour = int((tick.end - TICK_SECONDS / 2) // 3600)
            so_far = hours.setdefault(hour, {})
            for feature, drawn in tick.counts.items():
                so_far[feature] = so_far.get(feature, 0) + drawn
    return {
        feature: FeatureDistribution.of(
            feature, values, np.array(list(hours)), np.stack([h[feature] for h in hours.values()])
        )
        for feature, values in VALUES.items()
    }


def _wander(rng: np.random.Generator, ticks: int, values: int, seconds: float) -> Floats:
    """Gaussian autoregressions of variance 1."""
    decay = np.exp(-TICK_SECONDS / seconds)
    new = rng.standard_normal((ticks, values)) * np.sqrt(1 - decay**2)
    new[0] = rng.standard_normal(values)
    for t in range(1, ticks):
        new[t] += decay * new[t - 1]
    return np.asarray(new)


def _concentrate(shares: Floats, span: slice, value: int, share: float) -> None:
    shares[span] *= 1 - share
    shares[span, value] += share
