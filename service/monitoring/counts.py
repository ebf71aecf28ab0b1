"""The counters of one model, picked from a window and added up over its versions."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from service.monitoring import catalogue
from service.monitoring.catalogue import Outcome
from service.monitoring.histogram import HistogramCounts
from service.monitoring.snapshot import Series


class ModelVersion(NamedTuple):
    """One version of a model."""

    model: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelCounts:
    """What one model did over some span."""

    successes: float
    """Requests answered."""
    errors: float
    """Requests failed."""
    durations: HistogramCounts
    """Request durations in seconds."""
    predictions: HistogramCounts
    """Predicted CTR, a ratio."""
    negative_log_complement: float
    """Sum of -ln(1 - p) over the predictions."""

    @staticmethod
    def none() -> "ModelCounts":
        """Give those of a model that has done nothing."""
        return _Sums().counts()

    @property
    def requests(self) -> float:
        """Requests that reached the model."""
        return self.successes + self.errors

    @property
    def error_ratio(self) -> float | None:
        """Share of requests that failed; None without a request."""
        return self.errors / self.requests if self.requests else None


class _Sums:
    """Sums over versions, by what a series says besides its model and version."""

    def __init__(self) -> None:
        self._values: defaultdict[tuple[str, str], float] = defaultdict(float)

    def add(self, name: str, detail: str, value: float) -> None:
        self._values[name, detail] += value

    def value(self, metric: catalogue.Metric, detail: str = "") -> float:
        return self._values[metric.name, detail]

    def histogram(self, metric: catalogue.Metric, squares: catalogue.Metric) -> HistogramCounts:
        buckets = sorted(
            (float(le), value)
            for (name, le), value in self._values.items()
            if name == f"{metric.name}_bucket"
        )
        return HistogramCounts(
            bounds=np.array([bound for bound, _ in buckets]),
            cumulative=np.array([count for _, count in buckets]),
            total=self._values[f"{metric.name}_sum", ""],
            total_of_squares=self.value(squares),
        )

    def counts(self) -> ModelCounts:
        return ModelCounts(
            successes=self.value(catalogue.REQUESTS, Outcome.SUCCESS),
            errors=self.value(catalogue.REQUESTS, Outcome.ERROR),
            durations=self.histogram(
                catalogue.REQUEST_DURATION, catalogue.REQUEST_DURATION_SQUARED
            ),
            predictions=self.histogram(catalogue.PREDICTION, catalogue.PREDICTION_SQUARED),
            negative_log_complement=self.value(catalogue.PREDICTION_NEGATIVE_LOG_COMPLEMENT),
        )


_DETAIL_LABELS = {"outcome", "error_type", "le"}


def counts_by_model(increases: Mapping[Series, float]) -> Mapping[str, ModelCounts]:
    """Sort the growth of counters by model."""
    sums: defaultdict[str, _Sums] = defaultdict(_Sums)
    for (name, labels), value in increases.items():
        model = detail = ""
        for label, text in labels:
            if label == "model":
                model = text
            elif label in _DETAIL_LABELS:
                detail = text
        if model:
            sums[model].add(name, detail, value)
    return {model: its_sums.counts() for model, its_sums in sorted(sums.items())}


def counts_of_version(
    increases: Mapping[Series, float], model: str, version: str
) -> ModelCounts | None:
    """Pick the growth of one version of a model; None where it has no series."""
    return counts_by_model(of_version(increases, model, version)).get(model)


def of_version(
    increases: Mapping[Series, float], model: str, version: str
) -> Mapping[Series, float]:
    """Keep the series of one version of a model."""
    return {
        series: value
        for series, value in increases.items()
        if ("model", model) in series.labels and ("version", version) in series.labels
    }


def feature_counts(increases: Mapping[Series, float]) -> Mapping[tuple[str, str], float]:
    """Predictions by feature and value, of the series of one version of a model."""
    return {
        (labels["feature"], labels["value"]): value
        for series, value in increases.items()
        if series.name == catalogue.FEATURE_VALUES.name
        for labels in (dict(series.labels),)
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Extremes:
    """Shortest and longest request since the counters began, in seconds; None before the first."""

    shortest: float | None
    longest: float | None

    @classmethod
    def of(cls, model: str, gauges: Mapping[Series, float]) -> Self:
        """Pick the extremes of ``model`` over its versions."""
        return cls(
            shortest=min(_of_model(gauges, catalogue.REQUEST_DURATION_MIN, model), default=None),
            longest=max(_of_model(gauges, catalogue.REQUEST_DURATION_MAX, model), default=None),
        )


def _of_model(
    gauges: Mapping[Series, float], metric: catalogue.Metric, model: str
) -> Iterable[float]:
    for series, value in gauges.items():
        if series.name == metric.name and ("model", model) in series.labels:
            yield value
