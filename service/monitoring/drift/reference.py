"""What the detector holds the traffic against: courses, zones of what is immaterial, wander."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from service.monitoring.baseline import Baseline, HourlyDistribution
from service.monitoring.drift.channels import shift_of_place
from service.monitoring.drift.course import Course
from service.monitoring.drift.ripple import RippleReference
from service.monitoring.drift.ticks import TICK_SECONDS, Floats
from service.monitoring.drift.wander import Autoregression, Wander

PREDICTION_DEGREE = 3
LATENCY_DEGREE = 1
LATENCY_MATERIALITY = 1.0
"""Latency is allowed this many times the materiality of the mean prediction."""
_SHAPE_MATERIALITY = 0.5
"""Spread and higher channels are allowed this share of what location is, in standard deviations:
a shift of the mean by the materiality, added or multiplied, moves them by less."""
_ERRORS = 3.0
"""The zone is widened by so many standard errors of the baseline."""
UNKNOWN_WANDER = 0.10
"""Zone, as a share of the mean, where nobody has measured how much the mean wanders."""
UNKNOWN_LATENCY_WANDER = 0.30
"""The same of latency, which moves with the load."""
_CAPTURED = 2.0
_UNKNOWN_SHAPE = 0.2
_STATED_BOUND = 3.0
"""Zone, in stated standard deviations of a window's mean, where somebody has stated one."""
_TYPICAL_COUNT_PER_TICK = 300.0
"""Where nobody knows; it shapes the bets, not what they promise."""

_PREDICTION_WEIGHTS = (0.15, 0.27, 0.20, 0.10)
_RIPPLE_WEIGHT = 0.08
_RIPPLE_LEAK = 0.1
"""Share of a wander of the location that shows in directions beyond the smooth channels."""
_LATENCY_WEIGHTS = (0.08, 0.12)
"""All weights together are 1: the budget is shared by predictions, ripple and latency."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QuantityReference:
    """One quantity: its course, and what counts as normal about it."""

    course: Course
    wander: Autoregression
    zones: Floats
    """Half-width of what is immaterial, per channel in standard deviations, shape ``(c,)``."""
    weights: Floats
    """Share of the evidence, per channel, shape ``(c,)``."""
    count_per_tick: float
    """Typical number of observations."""
    commissioning: bool
    """Whether wander is not known yet and the zone therefore wide."""
    stated_window_std: float = 0.0
    """Of a window's mean beyond sampling noise, in standard deviations, as an operator gave it."""
    ripple: RippleReference | None = None
    """Of changes between neighbouring buckets."""
    ripple_weight: float = 0.0

    @classmethod
    def of(
        cls,
        *,
        hours: HourlyDistribution | None,
        wander: Wander | None,
        mean: float,
        std: float,
        observations: int | None,
        materiality: float,
        weights: tuple[float, ...],
        unknown_wander: float,
        window_std: float | None = None,
        ripple_weight: float = 0.0,
    ) -> Self | None:
        """Prepare one quantity; None where there is nothing to hold it against."""
        if hours is not None and hours.observations > 0:
            course = Course.from_hours(hours, degree=len(weights) - 1, wander=wander)
        else:
            course = Course.from_moments(mean, std, observations=observations)
        if not (course.std > 0 and math.isfinite(course.mean)):
            return None
        channels = course.channels
        location = course.mean / course.std
        zones = np.full(channels, _SHAPE_MATERIALITY * materiality * location)
        zones[:2] = materiality * location
        # An error of the baseline stands still; the zone must hold all day.
        zones += _ERRORS * course.standard_errors
        stated = 0.0
        if wander is None:
            zones[1:] = np.maximum(zones[1:], _UNKNOWN_SHAPE)
            stated = 0.0 if window_std is None else window_std / course.std
            unknown = max(unknown_wander * location, _UNKNOWN_SHAPE)
            zones[0] = max(zones[0], _STATED_BOUND * stated or unknown)
            if hours is not None and course.law is not None and channels > 1:
                moved = shift_of_place(course.law, hours.bounds, unknown_wander)
                zones[1] = max(zones[1], moved, unknown)
            fitted = Autoregression(variance=np.zeros(channels), seconds=np.ones(channels))
            per_tick = _TYPICAL_COUNT_PER_TICK
        else:
            fitted = _with_location(wander.fitted(), course)
            spacing = float(wander.lag_seconds[0])
            total = hours.observations if hours is not None else 0
            per_tick = max(total / wander.ticks * TICK_SECONDS / spacing, 1.0)
        share = np.array(weights[:channels])
        ripple = None
        if ripple_weight and hours is not None and wander is not None and channels > 1:
            leak = _RIPPLE_LEAK * math.sqrt(float(fitted.variance[1]))
            ripple = RippleReference.of(
                hours.counts.astype(np.float64),
                course.functions,
                radius=_SHAPE_MATERIALITY * materiality * location + leak,
                flat=course.means[1].flat,
            )
        return cls(
            course=course,
            wander=fitted,
            zones=zones,
            weights=share * sum(weights) / share.sum(),
            count_per_tick=per_tick,
            commissioning=wander is None,
            stated_window_std=stated,
            ripple=ripple,
            ripple_weight=ripple_weight,
        )


def _with_location(fitted: Autoregression, course: Course) -> Autoregression:
    """Add what a wander of the location does to the further channels at the worst hour.

    The measured variance is that of the average hour.
    """
    if course.channels <= 1 + 1 or fitted.variance[1] == 0:
        return fitted
    slopes = course.location_slopes()[:, 1:] ** 2
    more = (slopes.max(axis=0) - slopes.mean(axis=0)) * fitted.variance[1]
    variance, seconds = fitted.variance.copy(), fitted.seconds.copy()
    seconds[2:] = np.where((variance[2:] < more), seconds[1], seconds[2:])
    variance[2:] += more
    return Autoregression(variance=variance, seconds=seconds)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reference:
    """Both quantities of one model."""

    predictions: QuantityReference
    latency: QuantityReference | None

    @classmethod
    def of(cls, baseline: Baseline, *, materiality: float) -> Self:
        """Prepare a baseline.

        Args:
            baseline: Four numbers, or distributions by hour with the wander between ticks.
            materiality: Change of the mean, as a share of it, that nobody wants to hear of.

        Raises:
            ValueError: The baseline's predictions do not vary.
        """
        # Taken from too little traffic, a baseline is itself somewhere in the wander.
        times = _CAPTURED if baseline.source == "capture" else 1.0
        predictions = QuantityReference.of(
            hours=baseline.predictions,
            wander=baseline.prediction_wander,
            mean=baseline.mean_prediction,
            std=baseline.std_prediction,
            observations=baseline.observations,
            materiality=materiality,
            weights=_PREDICTION_WEIGHTS,
            unknown_wander=times * UNKNOWN_WANDER,
            window_std=baseline.window_std_prediction,
            ripple_weight=_RIPPLE_WEIGHT,
        )
        if predictions is None:
            raise ValueError("the predictions of the baseline do not vary")
        latency = None
        if baseline.mean_latency_seconds is not None and baseline.std_latency_seconds is not None:
            latency = QuantityReference.of(
                hours=baseline.latency,
                wander=baseline.latency_wander,
                mean=baseline.mean_latency_seconds,
                std=baseline.std_latency_seconds,
                observations=baseline.observations,
                materiality=LATENCY_MATERIALITY * materiality,
                weights=_LATENCY_WEIGHTS,
                unknown_wander=times * UNKNOWN_LATENCY_WANDER,
                window_std=baseline.window_std_latency_seconds,
            )
        return cls(predictions=predictions, latency=latency)

    @property
    def quantities(self) -> tuple[QuantityReference, ...]:
        """Predictions, then latency where it is known."""
        return (self.predictions,) if self.latency is None else (self.predictions, self.latency)
