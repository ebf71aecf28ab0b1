"""A baseline taken from observed traffic."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

import numpy as np

from service.monitoring.baseline import Baseline, HourlyDistribution
from service.monitoring.buckets import HOURS_PER_DAY
from service.monitoring.counts import (
    ModelCounts,
    counts_by_model,
    counts_of_version,
    feature_counts,
    of_version,
)
from service.monitoring.drift.from_ticks import wanders
from service.monitoring.drift.ticks import Ticks
from service.monitoring.feature_drift.distribution import FeatureDistribution
from service.monitoring.histogram import HistogramCounts
from service.monitoring.window import Window

_SECONDS_PER_HOUR = 3600
# The difference of two sums of squares leaves this much where the truth is zero.
_SMALLEST_RELATIVE_STD = 1e-6


class UnusableTrafficError(ValueError):
    """The window cannot be a reference; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hour:
    """What one version did within one hour of one day."""

    hour: int
    """Since the Unix epoch."""
    counts: ModelCounts
    feature_values: Mapping[tuple[str, str], float]

    @classmethod
    def of(cls, window: Window, model: str, version: str) -> Self | None:
        own = of_version(window.increases, model, version)
        counts = counts_by_model(own).get(model)
        if counts is None:
            return None
        middle = (window.start + window.end) / 2
        return cls(
            hour=int(middle // _SECONDS_PER_HOUR),
            counts=counts,
            feature_values=feature_counts(own),
        )


def capture(
    model: str,
    version: str,
    windows: Sequence[Window],
    *,
    ticks: Iterable[Window] = (),
    min_predictions: int,
    created_at: datetime,
    created_by: str,
    note: str,
) -> Baseline:
    """Make a baseline of what a model version did.

    Args:
        model: Its name.
        version: The version served now; what others did does not count.
        windows: Adjacent windows, none of which crosses a full hour.
        ticks: Adjacent windows of one length, from which the wander between them is measured.
        min_predictions: Fewer are refused.
        created_at: When, an aware time.
        created_by: Who.
        note: Why.

    Raises:
        UnusableTrafficError: There are fewer than ``min_predictions``, or all are equal.
    """
    hours = [hour for w in windows if (hour := _Hour.of(w, model, version)) is not None]
    observations = round(sum(hour.counts.predictions.count for hour in hours))
    if observations < min_predictions:
        raise UnusableTrafficError(
            f"{model} made {observations} predictions in this window; "
            f"a baseline needs {min_predictions}: choose a longer window"
        )
    predictions = _hourly([(hour.hour, hour.counts.predictions) for hour in hours])
    if predictions.std <= _SMALLEST_RELATIVE_STD * predictions.mean:
        raise UnusableTrafficError(
            f"all predictions of {model} in this window are equal: no reference for real traffic"
        )
    latency = _hourly([(hour.hour, hour.counts.durations) for hour in hours])
    short = _ticks(ticks, model, version)
    prediction_wander, latency_wander = (
        (None, None) if short is None else wanders(predictions, latency, short)
    )
    return Baseline(
        model_name=model,
        model_version=version,
        mean_prediction=predictions.mean,
        std_prediction=predictions.std,
        mean_latency_seconds=latency.mean,
        std_latency_seconds=latency.std,
        observations=observations,
        predictions=predictions,
        latency=latency,
        prediction_wander=prediction_wander,
        latency_wander=latency_wander,
        features=_features(hours),
        source="capture",
        window_start=windows[0].start,
        window_end=windows[-1].end,
        created_at=created_at,
        created_by=created_by,
        note=note,
    )


def _ticks(windows: Iterable[Window], model: str, version: str) -> Ticks | None:
    found = (
        (counts_of_version(window.increases, model, version), window.end) for window in windows
    )
    ticks = [Ticks.of(counts, end=end) for counts, end in found if counts is not None]
    return Ticks.joined(ticks) if ticks else None


def _hourly(parts: Sequence[tuple[int, HistogramCounts]]) -> HourlyDistribution:
    bounds = parts[0][1].bounds
    counts = np.zeros((HOURS_PER_DAY, len(bounds)), dtype=np.int64)
    sums, squares = np.zeros(HOURS_PER_DAY), np.zeros(HOURS_PER_DAY)
    for since_epoch, histogram in parts:
        hour = since_epoch % HOURS_PER_DAY
        counts[hour] += np.diff(histogram.cumulative, prepend=0).round().astype(np.int64)
        sums[hour] += histogram.total
        squares[hour] += histogram.total_of_squares
    # The last bound is infinite; a distribution names the finite ones.
    return HourlyDistribution(bounds=bounds[:-1], counts=counts, sums=sums, sums_of_squares=squares)


def _features(hours: Sequence[_Hour]) -> Mapping[str, FeatureDistribution]:
    values: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for hour in hours:
        for feature, value in hour.feature_values:
            values[feature][value] = None
    places = np.array([hour.hour for hour in hours], dtype=np.int64)
    return {
        feature: FeatureDistribution.of(
            feature,
            tuple(names),
            places,
            np.array(
                [
                    [round(hour.feature_values.get((feature, name), 0.0)) for name in names]
                    for hour in hours
                ],
                dtype=np.int64,
            ),
        )
        for feature, names in values.items()
    }
