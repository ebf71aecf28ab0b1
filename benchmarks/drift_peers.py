"""The usual ways to notice drift, on the ticks that our detector sees.

Each is a statistic that alarms above a threshold. The baseline week is known to them as one mean,
one standard deviation and one histogram, without the daily course, except to the z-test that says
so. A window is the last hour, unless its name says otherwise; it moves with every tick.
"""

import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from service.monitoring.baseline import Baseline
from service.monitoring.drift.course import Course
from service.monitoring.drift.ticks import Floats, Ticks

HOUR_TICKS = 240
Z_TICKS = 20
_PSEUDO_COUNT = 0.5
_KOLMOGOROV_5_PERCENT = 1.3581
"""Quantile of Kolmogorov's law: its tail beyond this is 0.05."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Known:
    """What the peers know of normal traffic."""

    mean: float
    std: float
    buckets: Floats
    """Observations per bucket, shape ``(b,)``."""
    course: Course

    @classmethod
    def of(cls, baseline: Baseline, course: Course) -> Self:
        """Forget the hours of a captured baseline.

        Raises:
            ValueError: The baseline has no histogram.
        """
        if baseline.predictions is None:
            raise ValueError("the peers need a baseline with a histogram")
        return cls(
            mean=baseline.mean_prediction,
            std=baseline.std_prediction,
            buckets=baseline.predictions.counts.sum(axis=0).astype(np.float64),
            course=course,
        )


Statistic = Callable[[Known, Ticks], Floats]
"""Disagreement with the baseline after each tick, shape ``(t,)``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One way to notice drift; in alarm while the statistic is above the threshold."""

    name: str
    statistic: Statistic
    threshold: float


def pages(alarm: NDArray[np.bool_]) -> int:
    """Count alarms, one that begins less than an hour after another counted with it."""
    return int((np.diff(np.flatnonzero(alarm), prepend=-HOUR_TICKS) >= HOUR_TICKS).sum())


def recent(values: Floats, ticks: int = HOUR_TICKS) -> Floats:
    """Sum over the last ticks; at the beginning over as many as there are."""
    total = np.cumsum(values, axis=0, dtype=np.float64)
    total[ticks:] = total[ticks:] - total[:-ticks]
    return total


def z_plain(known: Known, ticks: Ticks) -> Floats:
    """Shift of the window's mean in standard deviations of one prediction, as in the seed."""
    seen = ticks.predictions
    mean = recent(seen.total) / np.maximum(recent(seen.count), 1)
    return np.asarray(np.abs(mean - known.mean) / known.std)


def z_sampling(known: Known, ticks: Ticks) -> Floats:
    """Shift of the window's mean in its standard errors, std / sqrt(n)."""
    return np.asarray(z_plain(known, ticks) * np.sqrt(recent(ticks.predictions.count)))


def z_on_course(known: Known, ticks: Ticks) -> Floats:
    """Z of the mean of the last 5 minutes against the daily course."""
    seen = known.course.standardise(ticks.time, ticks.predictions)
    count = np.maximum(recent(seen.count, Z_TICKS), 1)
    return np.asarray(np.abs(recent(seen.sums[:, 0], Z_TICKS)) / np.sqrt(count))


def variance_ratio(known: Known, ticks: Ticks) -> Floats:
    """Absolute logarithm of the window's variance over the baseline's."""
    seen = ticks.predictions
    count = np.maximum(recent(seen.count), 1)
    variance = recent(seen.squares) / count - (recent(seen.total) / count) ** 2
    return np.asarray(np.abs(np.log(np.maximum(variance, np.finfo(float).tiny) / known.std**2)))


def psi(known: Known, ticks: Ticks) -> Floats:
    """Population stability index in nats, half a count added per bucket.

    Source: Siddiqi, "Credit Risk Scorecards" (2006); it is KL(p || q) + KL(q || p).
    """
    expected = known.buckets + _PSEUDO_COUNT
    observed = recent(ticks.predictions.buckets) + _PSEUDO_COUNT
    p, q = expected / expected.sum(), observed / observed.sum(axis=1, keepdims=True)
    return np.asarray(((q - p) * np.log(q / p)).sum(axis=1))


def kolmogorov_smirnov(known: Known, ticks: Ticks) -> Floats:
    """Two-sample statistic sqrt(n m / (n + m)) D, with D as the bounds of the buckets show it.

    Between two bounds the distributions may differ by more, so this is conservative.

    Source: Smirnov, "Table for estimating the goodness of fit of empirical distributions" (1948).
    """
    observed = recent(ticks.predictions.buckets)
    n, m = np.maximum(observed.sum(axis=1), 1), known.buckets.sum()
    cumulative = np.cumsum(observed, axis=1) / n[:, None]
    distance = np.abs(cumulative - np.cumsum(known.buckets) / m).max(axis=1)
    return np.asarray(np.sqrt(n * m / (n + m)) * distance)


class OnlineDetector(Protocol):
    """What we use of river's drift detectors."""

    def update(self, x: float) -> object:
        """Take one value."""

    @property
    def drift_detected(self) -> bool:
        """Whether that value raised the alarm."""


def online(make: Callable[[], OnlineDetector]) -> Statistic:
    """One where a fresh detector, fed with the z of every tick's mean, raises the alarm."""

    def statistic(known: Known, ticks: Ticks) -> Floats:
        count = np.maximum(ticks.predictions.count, 1)
        z = (ticks.predictions.total / count - known.mean) * np.sqrt(count) / known.std
        detector = make()
        raised = np.zeros(len(ticks))
        for tick, value in enumerate(z.tolist()):
            detector.update(value)
            raised[tick] = detector.drift_detected
        return raised

    return statistic


AS_THEY_COME = (
    Peer(name="z, plain sd, > 2", statistic=z_plain, threshold=2.0),
    Peer(name="z, sd / sqrt(n), > 2", statistic=z_sampling, threshold=2.0),
    Peer(
        name="variance ratio outside 1/1.5 to 1.5",
        statistic=variance_ratio,
        threshold=math.log(1.5),
    ),
    Peer(name="PSI > 0.1", statistic=psi, threshold=0.1),
    Peer(name="PSI > 0.2", statistic=psi, threshold=0.2),
    Peer(name="KS, p < 0.05", statistic=kolmogorov_smirnov, threshold=_KOLMOGOROV_5_PERCENT),
)
"""With the thresholds that the seed and the folklore name."""

TO_CALIBRATE = (
    Peer(name="z of 5 minutes on the daily course", statistic=z_on_course, threshold=math.inf),
    Peer(name="z, sd / sqrt(n)", statistic=z_sampling, threshold=math.inf),
    Peer(name="variance ratio", statistic=variance_ratio, threshold=math.inf),
    Peer(name="PSI", statistic=psi, threshold=math.inf),
    Peer(name="KS", statistic=kolmogorov_smirnov, threshold=math.inf),
)
"""Silent until someone sets their thresholds."""


@cache
def rivers() -> tuple[Peer, ...]:
    """River's ADWIN and Page-Hinkley with their defaults; none where it is not installed.

    Source: Bifet, Gavalda, "Learning from time-changing data with adaptive windowing" (2007);
    Page, "Continuous inspection schemes" (1954).
    """
    try:
        drift = importlib.import_module("river.drift")
    except ModuleNotFoundError:
        return ()
    return (
        Peer(name="ADWIN", statistic=online(drift.ADWIN), threshold=0.0),
        Peer(name="Page-Hinkley", statistic=online(drift.PageHinkley), threshold=0.0),
    )
