"""The test over one window: effect sizes against thresholds, gated so that chance does not pass."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from service.monitoring.drift.budget import WINDOW_LOG_THRESHOLD
from service.monitoring.drift.kind import DriftKind
from service.monitoring.drift.reference import QuantityReference
from service.monitoring.drift.ticks import TICK_SECONDS, Aggregates, Floats

LEAST_EFFECT = 0.2
"""A mean within so many standard deviations of the baseline's is left to the sequential route."""
_WANDER_BOUND = 5.0
"""Standard deviations of the window mean's wander that count as normal."""
_TILTS = np.geomspace(0.003, 1.0, 12)
_BETS = (0.04, 0.1, 0.2, 0.4)
"""Share of the stake that is put on each observation."""
_SPREAD_MARGIN = 1.02


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftThresholds:
    """When an effect is worth a word, and when it is severe."""

    mean_z: float = 2.0
    mean_z_high: float = 3.0
    variance_ratio: float = 1.5
    """Or its inverse."""
    variance_ratio_high: float = 2.0
    latency_z: float = 2.0
    latency_z_high: float = 3.0
    min_predictions: int = 100
    window_seconds: float = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WindowSums:
    """Standardised sums over windows, shape ``(w,)`` each."""

    count: Floats
    sums: Floats
    squares: Floats
    crowding: Floats
    """Sum of squared counts per nominal tick: how few ticks the observations are crowded in."""
    bets: Floats
    """Logarithms of bets on a greater variance, see :func:`variance_bets`; shape ``(w, k)``."""

    @classmethod
    def of(cls, columns: Floats) -> Self:
        """Take the columns one by one, in the order of the fields."""
        return cls(
            count=columns[:, 0],
            sums=columns[:, 1],
            squares=columns[:, 2],
            crowding=columns[:, 3],
            bets=columns[:, 4:],
        )

    @property
    def shift(self) -> Floats:
        """Mean deviation in standard deviations."""
        return np.asarray(self.sums / np.maximum(self.count, 1))

    @property
    def variance_ratio(self) -> Floats:
        """Variance about the window's own mean, against the baseline's."""
        return np.asarray((self.squares / np.maximum(self.count, 1) - self.shift**2).clip(min=0))

    @property
    def span_seconds(self) -> Floats:
        """Time that the observations are spread over, as if evenly.

        An hour's mean wanders less than that of its first minute, which is all there is after a
        start; and no more than that minute where it has nearly all of the traffic.
        """
        ticks = self.count**2 / np.maximum(self.crowding, 1e-9)
        return np.asarray(TICK_SECONDS * np.maximum(ticks, 1.0))

    def part(self, rows: NDArray[np.int64]) -> Self:
        """Some of the windows."""
        return type(self)(
            count=self.count[rows],
            sums=self.sums[rows],
            squares=self.squares[rows],
            crowding=self.crowding[rows],
            bets=self.bets[rows],
        )


def window_std(reference: QuantityReference, windows: WindowSums) -> Floats:
    """Standard deviation of windows' means beyond sampling noise, in standard deviations."""
    variance = reference.wander.variance_of_mean(windows.span_seconds[:, None])[:, 0]
    return np.asarray(np.sqrt(variance))


def shift_z(reference: QuantityReference, windows: WindowSums) -> Floats:
    """Shift of the mean in standard deviations of a window's mean, wander included."""
    noise = 1 / np.maximum(windows.count, 1) + window_std(reference, windows) ** 2
    noise += reference.stated_window_std**2
    return np.asarray(windows.shift / np.sqrt(noise))


def shift_evidence(reference: QuantityReference, windows: WindowSums) -> Floats:
    """Log e-value against "the mean lies within its zone and its wander", shape ``(w,)``."""
    bound = float(reference.zones[0]) + _WANDER_BOUND * window_std(reference, windows)
    n = windows.count[:, None]
    logs = []
    for side in (1.0, -1.0):
        mean = side * bound
        about = windows.squares - 2 * mean * windows.sums + mean**2 * windows.count
        gain = side * windows.sums[:, None] - n * bound[:, None]
        price = (about[:, None] + 2 * n * _SPREAD_MARGIN) / 6
        logs.append(_TILTS * gain - _TILTS**2 * price)
    return _log_mean_exp(np.concatenate(logs, axis=1))


def variance_bets(
    reference: QuantityReference, quantity: Aggregates, mean: Floats, std: Floats
) -> Floats:
    """Logarithms of bets that the mean square is greater than the zone allows.

    A bet wins ``1 + a (y - c)`` with each observation, ``y`` its squared deviation at the nearer
    edge of its bucket and ``c`` the most that the null allows on average: mean <= 1 whatever the
    distribution, so four numbers are baseline enough.

    Args:
        reference: What is normal.
        quantity: The ticks; no value is negative.
        mean: Expected per tick, shape ``(t,)``.
        std: Expected per tick, shape ``(t,)``.

    Returns:
        Sums over each tick's observations, shape ``(t, k)``.

    Source: Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting"
    (2024).
    """
    edges = np.concatenate([[0.0], quantity.bounds])
    low = (edges - mean[:, None]) / std[:, None]
    high = np.concatenate([low[:, 1:], np.full((len(mean), 1), np.inf)], axis=1)
    nearer = np.maximum(np.maximum(low, -high), 0.0) ** 2
    worst = _most_mean_square(reference)
    return np.stack(
        [(quantity.buckets * np.log1p(a / worst * (nearer - worst))).sum(axis=1) for a in _BETS],
        axis=1,
    )


def variance_evidence(reference: QuantityReference, windows: WindowSums) -> Floats:
    """Log e-value against "the mean square about the baseline's mean is as it was".

    It takes a change of the mean for one of the variance; the answer names the mean first.
    Downwards: ``exp(-a y) <= 1 - a y + a^2 y^2 / 2`` and the baseline's fourth moment, twice over.
    """
    n = windows.count[:, None]
    least = 2 - _most_mean_square(reference)
    fourth = 2 * reference.course.kurtosis
    lower = n * (_TILTS * least - _TILTS**2 * fourth / 2) - _TILTS * windows.squares[:, None]
    sides = (_log_mean_exp(windows.bets), _log_mean_exp(lower))
    return _log_mean_exp(np.stack(sides, axis=1))


def _most_mean_square(reference: QuantityReference) -> float:
    zone = float(reference.zones[0]) + _WANDER_BOUND * math.sqrt(
        float(reference.wander.variance[0])
    )
    relative = zone * reference.course.std / reference.course.mean
    return _SPREAD_MARGIN * (1 + relative) ** 2 + zone**2


def window_evidence(kind: DriftKind, reference: QuantityReference, windows: WindowSums) -> Floats:
    """Log e-value of the test that a kind of drift is found by, shape ``(w,)``."""
    if not len(windows.count):
        return np.zeros(0)
    test = variance_evidence if kind is DriftKind.VARIANCE_CHANGE else shift_evidence
    return test(reference, windows)


def mean_is_off(
    reference: QuantityReference,
    windows: WindowSums,
    *,
    z: float,
    least: int,
) -> NDArray[np.bool_]:
    """Whether each window's mean is off: by its z, by its size, and beyond chance."""
    off = (windows.count >= least) & (np.abs(windows.shift) >= LEAST_EFFECT)
    off &= np.abs(shift_z(reference, windows)) >= z
    rows = np.flatnonzero(off)
    if len(rows):
        off[rows] = shift_evidence(reference, windows.part(rows)) >= WINDOW_LOG_THRESHOLD
    return off


def variance_is_off(
    reference: QuantityReference,
    windows: WindowSums,
    *,
    ratio: float,
    least: int,
) -> NDArray[np.bool_]:
    """Whether each window's variance is off: by its ratio, and beyond chance."""
    found = windows.variance_ratio
    off = (windows.count >= least) & ((found >= ratio) | (found <= 1 / ratio))
    rows = np.flatnonzero(off)
    if len(rows):
        off[rows] = variance_evidence(reference, windows.part(rows)) >= WINDOW_LOG_THRESHOLD
    return off


def _log_mean_exp(logs: Floats) -> Floats:
    most = logs.max(axis=1)
    return np.asarray(most + np.log(np.exp(logs - most[:, None]).mean(axis=1)))
