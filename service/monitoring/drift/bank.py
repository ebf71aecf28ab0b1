"""The bets of a detector: one cell per channel, side, size of change, and age of the change."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from service.monitoring.drift.reference import QuantityReference
from service.monitoring.drift.ticks import TICK_SECONDS, Floats

SIZES = np.geomspace(0.015, 0.9, 8)
"""Changes that are betted on, in standard deviations beyond the zone."""
_PRIOR = np.array([0.6, 0.8, 1.0, 1.4, 1.4, 1.2, 1.0, 0.6])
_PRIOR /= _PRIOR.sum()
_SPREAD_MARGIN = 1.02
"""The variance of an observation may exceed the baseline's by this factor."""
_POLYNOMIAL_DEGREE = 8
_STAGES = 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bank:
    """The cells of one quantity.

    Where tick means wander, the detector looks at what a Kalman filter did not predict. A step of
    the mean shows in full at first and less and less as the filter takes it for wander; each bet
    passes through three stages of age, at random times whose prior is geometric.
    """

    channel: NDArray[np.int64]
    """Shape ``(m,)``, as all of these."""
    side: Floats
    size: Floats
    zone: Floats
    response: Floats
    """Share of a step that is still unpredicted at the cell's age."""
    leaving: Floats
    """Probability of passing on to the next stage at a tick."""
    source: NDArray[np.int64]
    """Cell that passes on to this one; -1 for the first stage."""
    weight: Floats
    moments: Floats
    """Of log E exp(tilt z) / (tilt^2 / 2): polynomial coefficients, shape ``(degree + 1, m)``."""
    spread_margin: Floats
    wander: Floats
    """Variance of the wander by channel, shape ``(c,)``."""
    decay: Floats
    """Of the wander over one tick, shape ``(c,)``."""

    @classmethod
    def of(cls, reference: QuantityReference) -> Self:
        """Lay out the cells."""
        course = reference.course
        decay = np.exp(-TICK_SECONDS / reference.wander.seconds)
        rows: list[tuple[float, ...]] = []
        curves: list[Floats] = []
        for channel in range(course.channels):
            variance = float(reference.wander.variance[channel])
            stages = _stages(variance, float(decay[channel]), reference.count_per_tick)
            sides = {side: _curve(reference, channel, side) for side in (-1.0, 1.0)}
            weight = float(reference.weights[channel]) / 2
            for side, curve in sides.items():
                for size, prior in zip(SIZES, _PRIOR, strict=True):
                    source = -1.0
                    for response, leaving in stages:
                        zone = float(reference.zones[channel])
                        rows.append(
                            (channel, side, size, zone, response, leaving, source, weight * prior)
                        )
                        curves.append(curve)
                        source = len(rows) - 1.0
        table = np.array(rows).T
        return cls(
            channel=table[0].astype(np.int64),
            side=table[1],
            size=table[2],
            zone=table[3],
            response=table[4],
            leaving=table[5],
            source=table[6].astype(np.int64),
            weight=table[7],
            moments=np.stack(curves, axis=1),
            spread_margin=np.full(len(rows), _SPREAD_MARGIN),
            wander=reference.wander.variance,
            decay=decay,
        )

    def log_factors(
        self,
        *,
        count: Floats,
        sums: Floats,
        squares: Floats,
        predicted: Floats,
        doubt: Floats,
        standing: Floats,
    ) -> Floats:
        """Logarithm of each cell's e-value at each tick.

        With ``m`` the largest mean that the null allows, ``N`` observations with sum ``Z`` and sum
        of squared deviations ``H`` from ``m``, tilt ``a`` and ``P`` the variance of what the
        filter cannot know:

            channel 0:  a (Z - N m) - a^2/6 (H + 2 N v) - a^2 N^2 P / 2
            others:     a (Z - N m) - N log E exp(a z)  - a^2 N^2 P / 2

        Each has mean <= 1 under the null: the first because exp(x - x^2/6) <= 1 + x + x^2/3 for
        all x (Delyon, EJP 2009, exponential inequalities for sums of weakly dependent variables),
        the second by definition.

        Args:
            count: Shape ``(t,)``.
            sums: Standardised, shape ``(t, c)``.
            squares: Of channel 0, shape ``(t,)``.
            predicted: By the filter, shape ``(t, c)``.
            doubt: The filter's variance before the tick, shape ``(t, c)``.
            standing: Share of a shift that stood from the start which the filter does not predict,
                shape ``(t, c)``. Where traffic is less than the baseline's it is more than at the
                filter's steady state, for which the bets are made.

        Returns:
            Shape ``(t, m)``.
        """
        n = count[:, None]
        known = predicted[:, self.channel]
        unknown = n * doubt[:, self.channel]
        expected = self.size * self.response
        tilt = expected / (self.spread_margin + unknown)
        worst = np.maximum(self.response, standing[:, self.channel]) * self.zone
        gain = tilt * (self.side * (sums[:, self.channel] - n * known) - n * worst)
        half_square = tilt**2 / 2
        first = int((self.channel == 0).sum())
        curve = np.empty_like(tilt)
        mean = known[:, :first] + self.side[:first] * worst[:, :first]
        about = squares[:, None] - 2 * mean * sums[:, :1] + n * mean**2
        curve[:, :first] = (about + 2 * n * _SPREAD_MARGIN) / 3
        rest = tilt[:, first:]
        ratio = np.broadcast_to(self.moments[-1, first:], rest.shape).copy()
        for coefficient in self.moments[-2::-1, first:]:
            ratio *= rest
            ratio += coefficient
        curve[:, first:] = n * _SPREAD_MARGIN * ratio
        return np.asarray(gain - half_square * (curve + n * unknown))


def _curve(reference: QuantityReference, channel: int, side: float) -> Floats:
    if channel == 0:
        return np.ones(_POLYNOMIAL_DEGREE + 1)
    tilts = np.linspace(0.01, SIZES[-1], 60)
    ratio = reference.course.log_moment(channel, side * tilts) * 2 / tilts**2
    coefficients = np.polynomial.polynomial.polyfit(tilts, ratio, _POLYNOMIAL_DEGREE)
    error = ratio - np.polynomial.polynomial.polyval(tilts, coefficients)
    coefficients[0] += max(float(error.max()), 0.0)
    return np.asarray(coefficients)


def _stages(variance: float, decay: float, count: float) -> tuple[tuple[float, float], ...]:
    """Response to a step and chance of leaving, per stage, at the filter's steady state."""
    if variance == 0:
        return ((1.0, 0.0),)
    noise = 1 / count
    fresh = variance * (1 - decay**2)
    doubt = variance
    for _ in range(500):
        doubt = decay**2 * doubt * noise / (doubt + noise) + fresh
    gain = doubt / (doubt + noise)
    fading = decay * (1 - gain)
    final = (1 - decay) / (1 - fading)
    length = 1 / (1 - fading)
    young, middle = 0.5 * length, 1.2 * length
    cuts = np.exp(-np.array([0.0, 0.5, 1.7, 4.0]))
    shares = (cuts[:-1] - cuts[1:]) / np.array([0.5, 1.2, 2.3])
    shares[-1] = 0.0
    responses = final + (1 - final) * shares
    return (
        (float(responses[0]), min(1 / max(young, 1.0), 1.0)),
        (float(responses[1]), min(1 / max(middle, 1.0), 1.0)),
        (float(responses[2]), 0.0),
    )
