"""How far the scores of a shadow model are from those that were answered."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from service.monitoring import catalogue
from service.monitoring.catalogue import Outcome
from service.monitoring.counts import ModelVersion
from service.monitoring.window import Window

_Z_95 = 1.959963984540054
_ENOUGH = 100
"""Predictions from which the normal approximation of an interval holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowStatistics:
    """What one version of a model scored in the shadow over a window."""

    model: ModelVersion
    predictions: int
    """Ad requests that it scored."""
    errors: int
    """Ad requests that it gave no usable score for."""
    mean_prediction: float | None
    """None without a prediction, as all that follow."""
    std_prediction: float | None
    mean_answered: float | None
    """Mean of what was answered to the same ad requests."""
    mean_difference: float | None
    """Mean of shadow prediction minus answer."""
    std_difference: float | None
    mean_difference_interval: tuple[float, float] | None
    """95 % confidence interval, each ad request counted as independent; None below 100 of them.

    It holds for one look at a time that was fixed before.
    """

    @property
    def error_ratio(self) -> float | None:
        """Share of the ad requests without a usable score; None without one."""
        total = self.predictions + self.errors
        return self.errors / total if total else None


def shadow_statistics(window: Window) -> Sequence[ShadowStatistics]:
    """Compute the statistics of every version that scored in the shadow, by model and version."""
    sums: defaultdict[ModelVersion, dict[str, float]] = defaultdict(dict)
    for (name, labels), value in window.increases.items():
        if name in _NAMES:
            details = dict(labels)
            version = ModelVersion(details["model"], details["version"])
            sums[version][name + details.get("outcome", "")] = value
    return [_statistics(model, found) for model, found in sorted(sums.items())]


_COUNTS = catalogue.SHADOW_PREDICTIONS.name
_SUM = f"{catalogue.SHADOW_PREDICTION.name}_sum"
_NAMES = {
    _COUNTS,
    _SUM,
    catalogue.SHADOW_PREDICTION_SQUARED.name,
    catalogue.SHADOW_ANSWERED.name,
    catalogue.SHADOW_DIFFERENCE_SQUARED.name,
}


def _statistics(model: ModelVersion, found: Mapping[str, float]) -> ShadowStatistics:
    n = found.get(_COUNTS + Outcome.SUCCESS, 0.0)

    def mean(name: str) -> float | None:
        return found.get(name, 0.0) / n if n else None

    scored, answered = mean(_SUM), mean(catalogue.SHADOW_ANSWERED.name)
    difference = None if scored is None or answered is None else scored - answered
    std = _std(difference, mean(catalogue.SHADOW_DIFFERENCE_SQUARED.name))
    return ShadowStatistics(
        model=model,
        predictions=round(n),
        errors=round(found.get(_COUNTS + Outcome.ERROR, 0.0)),
        mean_prediction=scored,
        std_prediction=_std(scored, mean(catalogue.SHADOW_PREDICTION_SQUARED.name)),
        mean_answered=answered,
        mean_difference=difference,
        std_difference=std,
        mean_difference_interval=_interval(difference, std, n),
    )


def _std(mean: float | None, mean_of_squares: float | None) -> float | None:
    if mean is None or mean_of_squares is None:
        return None
    return math.sqrt(max(mean_of_squares - mean**2, 0.0))


def _interval(mean: float | None, std: float | None, n: float) -> tuple[float, float] | None:
    if mean is None or std is None or n < _ENOUGH:
        return None
    half = _Z_95 * std / math.sqrt(n)
    return mean - half, mean + half
