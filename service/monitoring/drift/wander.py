"""How far the mean of a tick wanders without anything being wrong, and for how long."""

from dataclasses import dataclass

import numpy as np

from service.monitoring.drift.ticks import Floats

_LAGS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
_SIGNIFICANT = 4.0
"""Standard errors above zero; the best of many time constants is looked at."""
_MIN_TICKS = 200


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

    def fitted(self) -> "Autoregression":
        """Fit a first-order autoregression to each channel.

        Least squares over a grid of time constants. A channel without significant correlation is
        taken to have none; otherwise its variance is raised by one standard error.
        """
        channels, lags = self.autocovariances.shape
        variance, seconds = np.zeros(channels), np.full(channels, self.lag_seconds[0])
        grid = np.geomspace(self.lag_seconds[0], 4 * self.lag_seconds[lags - 1], 60)
        shapes = np.exp(-self.lag_seconds[None, :] / grid[:, None])
        for channel in range(channels):
            weights = 1.0 / self.errors[channel] ** 2
            if not np.isfinite(weights).all():
                continue
            precision = (shapes**2 * weights).sum(axis=1)
            amplitude = (shapes * weights * self.autocovariances[channel]).sum(axis=1) / precision
            gain = amplitude.clip(min=0) * np.sqrt(precision)
            best = int(np.argmax(gain))
            if gain[best] < _SIGNIFICANT:
                continue
            # Independent stretches of a wander are two time constants long.
            stretches = self.ticks * self.lag_seconds[0] / (2 * grid[best])
            relative = np.hypot(1 / gain[best], np.sqrt(2 / max(stretches, 2.0)))
            variance[channel] = amplitude[best] * (1 + min(relative, 1.0))
            seconds[channel] = grid[best]
        return Autoregression(variance=variance, seconds=seconds)


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
    ticks = len(time)
    if ticks < _MIN_TICKS:
        return None
    spacing = float(np.median(np.diff(time)))
    weight = count / max(float(count.mean()), 1.0)
    means = np.where(count[:, None] > 0, means, 0.0)
    lags = [lag for lag in _LAGS if lag < ticks // 4]
    found, errors = [], []
    for lag in lags:
        regular = np.abs(time[lag:] - time[:-lag] - lag * spacing) < spacing / 2
        pair = weight[lag:] * weight[:-lag] * regular
        product = means[lag:] * means[:-lag]
        total = max(float(pair.sum()), 1e-12)
        found.append((pair[:, None] * product).sum(axis=0) / total)
        square = (pair[:, None] ** 2 * means[lag:] ** 2 * means[:-lag] ** 2).sum(axis=0)
        errors.append(np.sqrt(square) / total)
    return Wander(
        lag_seconds=np.array(lags) * spacing,
        autocovariances=np.stack(found, axis=1),
        errors=np.stack(errors, axis=1),
        ticks=ticks,
    )
