"""The normal course of one quantity: what each channel's mean and spread are at a time of day."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from service.monitoring.baseline import HourlyDistribution
from service.monitoring.drift.channels import channel_functions, is_logarithmic, middles
from service.monitoring.drift.profile import SECONDS_PER_DAY, Profile, constant, fit
from service.monitoring.drift.ticks import TICK_SECONDS, Aggregates, Floats
from service.monitoring.drift.wander import Autoregression, Wander

_SECONDS_PER_HOUR = 3600.0
_DEFAULT_KURTOSIS = 10.0
_MIN_PER_HOUR = 100


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Standardised:
    """Sums over the observations of each tick, in units of one standard deviation."""

    count: Floats
    """Shape ``(t,)``."""
    sums: Floats
    """Per channel, of the deviation from the course, shape ``(t, c)``."""
    squares: Floats
    """Of the squared deviation in channel 0, shape ``(t,)``."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Course:
    """Channel 0 is the quantity itself, the others are functions of its bucket."""

    functions: Floats
    """Value of each further channel per bucket, shape ``(b, c - 1)``."""
    means: tuple[Profile, ...]
    stds: tuple[Profile, ...]
    mean: float
    """Of the quantity over all hours."""
    std: float
    kurtosis: float
    """Of the quantity, from the buckets."""
    law: Floats | None
    """Probability per bucket over all hours; None where only moments are known."""
    hourly_laws: Floats | None
    """The same per hour that has data, shape ``(h, b)``; one row where the course is flat."""
    standard_errors: Floats
    """Of the fitted mean, per channel in standard deviations, shape ``(c,)``."""

    @classmethod
    def from_moments(cls, mean: float, std: float, *, observations: int | None) -> Self:
        """Know the mean and the standard deviation only."""
        error = 1 / math.sqrt(observations) if observations else 0.0
        return cls(
            functions=np.zeros((0, 0)),
            means=(constant(mean),),
            stds=(constant(std),),
            mean=mean,
            std=std,
            kurtosis=_DEFAULT_KURTOSIS,
            law=None,
            hourly_laws=None,
            standard_errors=np.array([error]),
        )

    @classmethod
    def from_hours(cls, hours: HourlyDistribution, *, degree: int, wander: Wander | None) -> Self:
        """Know the distribution of every hour of the day.

        Args:
            hours: What was observed.
            degree: Of the highest polynomial of the bucket's place.
            wander: Between ticks, which makes hourly means less precise than their number of
                observations says; unknown while it is being measured.
        """
        counts = hours.counts.astype(np.float64)
        law = counts.sum(axis=0) / counts.sum()
        functions = channel_functions(law, hours.bounds, degree)
        size = counts.sum(axis=1)
        known = size >= min(_MIN_PER_HOUR, size.max())
        size = np.where(known, size, np.nan)
        first = np.stack([hours.sums / size, *(counts @ functions / size[:, None]).T])
        second = np.stack(
            [hours.sums_of_squares / size, *(counts @ functions**2 / size[:, None]).T]
        )
        variance = (second - first**2).clip(min=1e-12 * np.nanmax(second, axis=1)[:, None])
        stretch, days = _wander_of_hours(wander, len(first))
        # Per channel and hour, in standard deviations of one observation.
        errors = np.sqrt(1 / size + (stretch / days)[:, None])
        std = np.sqrt(variance)
        means = tuple(fit(m, e * s) for m, e, s in zip(first, errors, std, strict=True))
        kurtosis = _kurtosis(law, hours)
        spread = np.sqrt(kurtosis / (4 * size) + (stretch / days)[:, None])
        stds = tuple(fit(s, e * s) for s, e in zip(std, spread, strict=True))
        flat = all(profile.flat for profile in means)
        total = float(np.nansum(size))
        slow = _slow_variance(wander, len(first))
        return cls(
            functions=functions,
            means=means,
            stds=stds,
            mean=hours.mean,
            std=hours.std,
            kurtosis=kurtosis,
            law=law,
            hourly_laws=law[None, :] if flat else counts[known] / size[known, None],
            standard_errors=np.sqrt(
                (1 / total + slow) * np.array([profile.parameters for profile in means])
            ),
        )

    @property
    def channels(self) -> int:
        """How many there are."""
        return len(self.means)

    @property
    def flat(self) -> bool:
        """Whether the time of day says nothing about any of them."""
        return all(profile.flat for profile in (*self.means, *self.stds))

    def standardise(self, time: Floats, quantity: Aggregates) -> Standardised:
        """Express ticks as deviations from the course.

        Args:
            time: End of each nominal tick in Unix seconds, shape ``(t,)``.
            quantity: The ticks.
        """
        moment = time - TICK_SECONDS / 2
        count = quantity.count
        mean = np.stack([profile.at(moment) for profile in self.means], axis=1)
        std = np.stack([profile.at(moment) for profile in self.stds], axis=1)
        sums = (
            np.concatenate(
                [quantity.total[:, None], np.einsum("tb,bc->tc", quantity.buckets, self.functions)],
                axis=1,
            )
            if self.channels > 1
            else quantity.total[:, None]
        )
        centre = mean[:, 0]
        squares = quantity.squares - 2 * centre * quantity.total + centre**2 * count
        return Standardised(
            count=count,
            sums=(sums - count[:, None] * mean) / std,
            squares=squares.clip(min=0.0) / std[:, 0] ** 2,
        )

    def location_slopes(self) -> Floats:
        """How much a step of the location moves each function, by hour.

        Both in standard deviations; shape ``(h, c - 1)``. Where the course is not flat a function
        that ignores location at one hour does not at another.
        """
        if self.hourly_laws is None or self.law is None:
            raise ValueError("without buckets there is only channel 0")
        location = self.functions[:, 0]
        step = np.gradient(location)
        rising = step > 0
        slopes = np.gradient(self.functions, axis=0) / np.where(rising, step, 1.0)[:, None]
        std = np.sqrt(self.law @ (self.functions - self.law @ self.functions) ** 2)
        return np.asarray(self.hourly_laws @ np.where(rising[:, None], slopes, 0.0) / std)

    def log_moment(self, channel: int, tilts: Floats) -> Floats:
        """Logarithm of E exp(tilt * z) of a standardised bucket function, at worst over the day.

        Args:
            channel: From 1.
            tilts: Shape ``(k,)``.
        """
        if self.hourly_laws is None:
            raise ValueError("without buckets there is only channel 0")
        function = self.functions[:, channel - 1]
        mean = self.hourly_laws @ function
        std = np.sqrt((self.hourly_laws @ function**2 - mean**2).clip(min=1e-12))
        z = (function[None, :] - mean[:, None]) / std[:, None]
        moments = np.einsum(
            "hb,hkb->hk", self.hourly_laws, np.exp(tilts[None, :, None] * z[:, None])
        )
        return np.asarray(np.log(moments).max(axis=0))


def _wander_of_hours(wander: Wander | None, channels: int) -> tuple[Floats, float]:
    if wander is None:
        return np.zeros(channels), 1.0
    days = max(wander.ticks * float(wander.lag_seconds[0]) / SECONDS_PER_DAY, 1.0)
    return wander.fitted().variance_of_mean(_SECONDS_PER_HOUR), days


def _slow_variance(wander: Wander | None, channels: int) -> Floats:
    """Variance of the reference's overall mean that comes from its wander."""
    if wander is None:
        return np.zeros(channels)
    fitted: Autoregression = wander.fitted()
    return fitted.variance_of_mean(wander.ticks * float(wander.lag_seconds[0]))


def _kurtosis(law: Floats, hours: HourlyDistribution) -> float:
    value = np.exp(middles(hours.bounds)) if is_logarithmic(hours.bounds) else middles(hours.bounds)
    centre = float(law @ value)
    second = float(law @ (value - centre) ** 2)
    fourth = float(law @ (value - centre) ** 4)
    return max(fourth / second**2, 1.5) if second > 0 else _DEFAULT_KURTOSIS
