"""Evidence in a sum over cells of users, for those who look as often as they like.

A test statistic here is a sum ``S`` of one term per cell, each of mean zero under the hypothesis
because users were assigned at random. Its variance is estimated from the same cells, so users of
any activity, giants included, count with the noise that they really bring.

One look: with two arms of equal share the terms are symmetric about zero whatever the users do, and
``P(|S| >= q sqrt(V)) <= 2 exp(-q^2 / 2)`` holds exactly, with ``V`` the sum of their squares.
With unequal shares they are not, and giants that all happen to be in the larger arm would make
``V`` too small. So ``V`` is then held up by the variance that the totals of both arms predict: for
``V / 3 + 2 <V> / 3``, with ``<V>`` the true variance, the same bound holds for any distribution
(as ``exp(x - x^2 / 6) <= 1 + x + x^2 / 3``); it is estimated here, from cells to which users are
hashed independently of the arm.

Any number of looks: the normal-mixture boundary. It is exact for a Brownian motion in the time
``V``. A user stays in an arm, so what comes later is not negatively correlated with what came
before, and by Slepian's lemma a Gaussian sum of such terms crosses a side of the boundary no more
often. What is left open: that sums over cells are near enough Gaussian over time, and users who
click less for having clicked before. `benchmarks/experiments.py` measures it.

Sources: Efron, "Student's t-test under symmetry conditions" (1969); Delyon, "Exponential
inequalities for sums of weakly dependent variables" (2009); Robbins, "Statistical
methods related to the law of the iterated logarithm" (1970).
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from service.monitoring.experiment.arms import Floats
from service.monitoring.interval import Interval


class _Quadratic(NamedTuple):
    """``constant - 2 linear x + square x^2``."""

    constant: float
    linear: float
    square: float

    @classmethod
    def of_squares(cls, numerators: Floats, weights: Floats) -> Self:
        """Sum of ``(numerator - x weight)^2`` over the cells."""
        return cls(
            float(numerators @ numerators),
            float(numerators @ weights),
            float(weights @ weights),
        )

    def at(self, value: float) -> float:
        return self.constant - 2 * self.linear * value + self.square * value**2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CellSum:
    """A sum of ``numerator - value * weight`` over cells, of mean zero at the true value."""

    numerators: Floats
    """Shape ``(cells,)``."""
    weights: Floats
    """Shape ``(cells,)``; their sum is positive."""
    variances: tuple[_Quadratic, ...]
    """Of the sum, by the value; the greatest counts."""

    @classmethod
    def symmetric(cls, numerators: Floats, weights: Floats) -> Self:
        """Take the variance from the terms themselves."""
        return cls(
            numerators=numerators,
            weights=weights,
            variances=(_Quadratic.of_squares(numerators, weights),),
        )

    @classmethod
    def randomised(
        cls,
        numerators: Floats,
        weights: Floats,
        *,
        share: float,
        totals: tuple[Floats, Floats],
    ) -> Self:
        """Take the variance from the terms, and from what the totals of both arms predict.

        Args:
            numerators: Shape ``(cells,)``.
            weights: Shape ``(cells,)``.
            share: Probability that a user is in the first arm.
            totals: Numerators and weights of what a cell's users bring in whichever arm they
                are, centred.
        """
        own = _Quadratic.of_squares(numerators, weights)
        cells = len(numerators)
        scale = share * (1 - share) * cells / (cells - 1)
        predicted = _Quadratic.of_squares(*totals)
        both = _Quadratic(
            *((mine + 2 * scale * other) / 3 for mine, other in zip(own, predicted, strict=True))
        )
        return cls(numerators=numerators, weights=weights, variances=(own, both))

    def estimate(self) -> float:
        """Value at which the sum is zero."""
        return float(self.numerators.sum() / self.weights.sum())

    def variance(self, value: float) -> float:
        """Variance of the sum if the value is the true one."""
        return max(quadratic.at(value) for quadratic in self.variances)

    def log_evidence(self, value: float, *scales: float) -> float:
        """Log e-value against the value, a natural logarithm.

        Args:
            value: The hypothesis.
            scales: Variances at which the evidence is sharpest, see :func:`sharpest_at`; of
                several the evidence is the mean.
        """
        each = np.array(scales)
        spread = self.variance(value) + each
        total = float(self.numerators.sum() - value * self.weights.sum())
        return _log_mean_exp((np.log(each / spread) + total**2 / spread) / 2)

    def interval(self, *, level: float, scale: float, time_at: float) -> Interval | None:
        """Values that have not been rejected.

        Args:
            level: Probability that the true value is ever outside.
            scale: Variance at which the interval is tightest.
            time_at: Value whose variance is read as the time; the interval leaves that value out
                exactly when :meth:`log_evidence` against it reaches ``-log(level)``.

        Returns:
            None where so few cells carry the weight that the data bound nothing.
        """
        time = self.variance(time_at)
        reach = -2 * math.log(level) + math.log((time + scale) / scale)
        sides = [self._not_rejected(quadratic, reach, scale) for quadratic in self.variances]
        found = [side for side in sides if side is not None]
        if len(found) < len(sides):
            return None
        return Interval(min(side.low for side in found), max(side.high for side in found))

    def _not_rejected(self, variance: _Quadratic, reach: float, scale: float) -> Interval | None:
        # Roots of (sum - x weight)^2 = reach (variance(x) + scale), as in Fieller's theorem.
        total, weight = float(self.numerators.sum()), float(self.weights.sum())
        square = weight**2 - reach * variance.square
        if square <= 0:
            return None
        middle = (total * weight - reach * variance.linear) / square
        constant = (total**2 - reach * (variance.constant + scale)) / square
        half = math.sqrt(max(middle**2 - constant, 0.0))
        return Interval(middle - half, middle + half)


def sharpest_at(variance: float, level: float) -> float:
    """Scale of the mixture for which the boundary is lowest at a variance.

    Source: Howard, Ramdas, McAuliffe, Sekhon, "Time-uniform, nonparametric, nonasymptotic
    confidence sequences" (2021), section 3.5, to first order.
    """
    return variance / (1 + 2 * math.log(1 / level) + math.log(1 + 2 * math.log(1 / level)))


def _log_mean_exp(logs: Floats) -> float:
    most = float(logs.max())
    return most + math.log(float(np.exp(logs - most).mean()))
