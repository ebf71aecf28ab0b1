"""How far the mean of a tick wanders without anything being wrong, and for how long."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from service.monitoring import stored_fields
from service.monitoring.drift.slots import PARTS, Slots
from service.monitoring.drift.ticks import Floats

_LAGS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
_MIN_TICKS = 200
_MIN_PAIRS = 100
_TYPICAL_SECONDS = 600.0
_TYPICAL_LOG_SPREAD = 1.2
"""A wander that the ticks say little about is taken to last some minutes up to an hour."""
_MOST_RELATIVE_ERROR = 1.2
_SURE = 2.0
"""Standard errors by which the worst part must stand out; the greatest of eight is looked at."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Wander:
    """Autocovariances of standardised tick means about their daily course.

    Sampling noise is independent from tick to tick and does not enter at a lag of one or more, so
    what is left is the model's or the traffic's own slow movement.
    """

    lag_seconds: Floats
    """Shape ``(k,)``."""
    autocovariances: Floats
    """Per channel and lag, in units of the variance of one observation, shape ``(c, k)``."""
    errors: Floats
    """Their standard errors if there were no wander, shape ``(c, k)``."""
    ticks: int
    """Number of ticks behind them."""
    by_part: Floats | None = None
    """Autocovariances of each eighth of the UTC day, shape ``(8, c, k)``; None where one of them
    was not seen."""

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises:
            KeyError: A field is not there.
            ValueError: A field is not what it has to be.
        """
        # Absent from baselines that were stored before parts of the day were told apart.
        seen = content.get("by_part") is not None
        found = stored_fields.floats(content, "autocovariances", (None, None))
        channels, lags = found.shape
        in_parts = (PARTS, channels, lags)
        return cls(
            lag_seconds=stored_fields.floats(content, "lag_seconds", (lags,)),
            autocovariances=found,
            errors=stored_fields.floats(content, "errors", (channels, lags)),
            ticks=int(stored_fields.number(content, "ticks", least=1)),
            by_part=stored_fields.floats(content, "by_part", in_parts) if seen else None,
        )

    def to_json(self) -> dict[str, Any]:
        """Give plain values."""
        return {
            "lag_seconds": self.lag_seconds.tolist(),
            "autocovariances": self.autocovariances.tolist(),
            "errors": self.errors.tolist(),
            "ticks": self.ticks,
            "by_part": None if self.by_part is None else self.by_part.tolist(),
        }

    def fitted(self) -> "Autoregression":
        """Give a first-order autoregression that is at least what each channel may do.

        Every time constant of a grid has an amplitude, by least squares, and a likelihood. Their
        mean is raised by a standard error: of what sampling noise leaves open, and of how few
        stretches of the wander were seen and how far the time constant is in doubt. Noise in
        which no wander shows thus has the wander that could hide in it, which is little where
        ticks are many. Where three hours of the day wander more than chance explains, the worst
        count.

        Promise: a greater variance covers a time constant that is off. The spectrum of an
        autoregression is level at ``2 * variance * seconds`` and falls as ``variance / seconds``;
        with both ends above those of the truth it lies above throughout, and then no weighted sum
        of ticks varies more than it says.

        Source: Wilson & Hilferty (1931) for the quantile of a chi-square.
        """
        channels = len(self.autocovariances)
        variance, seconds = np.zeros(channels), np.full(channels, _TYPICAL_SECONDS)
        grid = np.geomspace(self.lag_seconds[0], 4 * self.lag_seconds[-1], 60)
        span = self.ticks * float(self.lag_seconds[0])
        # The course took the mean, and with it what the wander did to it.
        one = Autoregression(variance=np.ones(len(grid)), seconds=grid)
        shapes = np.exp(-self.lag_seconds / grid[:, None]) - one.variance_of_mean(span)[:, None]
        prior = -((np.log(grid / _TYPICAL_SECONDS) / _TYPICAL_LOG_SPREAD) ** 2) / 2
        for channel in range(channels):
            errors = self.errors[channel]
            weights = np.where(errors > 0, 1.0 / np.where(errors > 0, errors, 1.0) ** 2, 0.0)
            if not weights.any():
                continue
            precision = (shapes**2 * weights).sum(axis=1)
            amplitude = (shapes * weights * self.autocovariances[channel]).sum(axis=1) / precision
            amplitude = amplitude.clip(min=0)
            likelihood = amplitude**2 * precision / 2 + prior
            share = np.exp(likelihood - likelihood.max())
            share /= share.sum()
            middle = float(share @ np.log(grid))
            doubt = float(share @ (np.log(grid) - middle) ** 2)
            seconds[channel] = math.exp(middle)
            # Independent stretches of a wander are two time constants long.
            relative = min(math.sqrt(4 * seconds[channel] / span), _MOST_RELATIVE_ERROR)
            chance = (1 - relative**2 / 9 - relative / 3) ** -3
            noise = float(share @ precision**-0.5)
            raised = (float(share @ amplitude) + noise) * chance
            # Independent errors add in squares; that of the few stretches is in already.
            raised *= math.exp(math.sqrt(doubt + relative**2) - relative)
            variance[channel] = raised * self._worst_part(channel, seconds[channel], weights)
        return Autoregression(variance=variance, seconds=seconds)

    def _worst_part(self, channel: int, seconds: float, weights: Floats) -> float:
        """How many times the variance of the whole day that of its worst part surely is."""
        if self.by_part is None:
            return 1.0
        shape = np.exp(-self.lag_seconds / seconds)
        precision = float(shape**2 @ weights)
        whole = float(self.autocovariances[channel] @ (shape * weights)) / precision
        if whole <= 0:
            return 1.0
        worst = float((self.by_part[:, channel] @ (shape * weights)).max()) / precision
        span = self.ticks * float(self.lag_seconds[0]) / PARTS
        error = math.hypot(math.sqrt(PARTS / precision) / whole, math.sqrt(4 * seconds / span))
        return max(worst / whole / (1 + _SURE * error), 1.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Autoregression:
    """A wander with covariance ``variance * exp(-lag / seconds)``, per channel."""

    variance: Floats
    """In units of the variance of one observation; 0 for none. Shape ``(c,)``."""
    seconds: Floats
    """Time constant, shape ``(c,)``."""

    def variance_of_mean(self, span_seconds: Floats | float) -> Floats:
        """Variance of its mean over a span, per channel.

        Source: integral of the covariance over the square, the variance times
        2 / a * (1 - (1 - exp(-a)) / a), with ``a = span / seconds``; no less for short spans.
        """
        a = np.maximum(np.asarray(span_seconds) / self.seconds, 1e-9)
        return np.asarray(self.variance * 2 / a * (1 - (1 - np.exp(-a)) / a))


def measure(time: Floats, count: Floats, means: Floats) -> Wander | None:
    """Measure the wander of tick means.

    Args:
        time: End of each tick in Unix seconds, shape ``(t,)``.
        count: Observations per tick, shape ``(t,)``.
        means: Standardised deviation of each tick's mean from its course, shape ``(t, c)``;
            anything where the count is 0.

    Returns:
        None where there are too few ticks to tell.
    """
    slots = Slots.of(time, count, means)
    ticks = len(slots.place)
    if ticks < _MIN_TICKS:
        return None
    lags, found, errors, parts = [], [], [], []
    for lag in _LAGS:
        if lag >= ticks // 4:
            break
        early, late = slots.apart(lag)
        if len(early) < _MIN_PAIRS:
            continue
        pair = (slots.weight[early] * slots.weight[late])[:, None]
        product = slots.means[early] * slots.means[late]
        total = float(pair.sum())
        lags.append(lag)
        found.append((pair * product).sum(axis=0) / total)
        errors.append(np.sqrt((pair**2 * product**2).sum(axis=0)) / total)
        part = slots.part[early]
        seen = np.bincount(part, pair[:, 0], PARTS)
        if np.bincount(part, minlength=PARTS).min() >= _MIN_PAIRS:
            sums = [np.bincount(part, column, PARTS) for column in (pair * product).T]
            parts.append(np.array(sums) / seen)
    if lags[:1] != [1]:
        return None
    return Wander(
        lag_seconds=np.array(lags) * slots.seconds,
        autocovariances=np.stack(found, axis=1),
        errors=np.stack(errors, axis=1),
        ticks=ticks,
        by_part=np.array(parts).transpose(2, 1, 0) if len(parts) == len(lags) else None,
    )
