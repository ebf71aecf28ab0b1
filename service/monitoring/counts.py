"""The counters of one model, picked from a window and added up over its versions."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from service.monitoring import catalogue
from service.monitoring.catalogue import Outcome
from service.monitoring.counters import Counters, Floats, Layout, Places, added_up
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
        return _Places.of(()).counts(np.zeros(0))

    @property
    def requests(self) -> float:
        """Requests that reached the model."""
        return self.successes + self.errors

    @property
    def error_ratio(self) -> float | None:
        """Share of requests that failed; None without a request."""
        return self.errors / self.requests if self.requests else None


_DURATION, _PREDICTION = catalogue.REQUEST_DURATION.name, catalogue.PREDICTION.name
_SUMMED = (
    (catalogue.REQUESTS.name, Outcome.SUCCESS),
    (catalogue.REQUESTS.name, Outcome.ERROR),
    (f"{_DURATION}_sum", ""),
    (catalogue.REQUEST_DURATION_SQUARED.name, ""),
    (f"{_PREDICTION}_sum", ""),
    (catalogue.PREDICTION_SQUARED.name, ""),
    (catalogue.PREDICTION_NEGATIVE_LOG_COMPLEMENT.name, ""),
)
"""Name, and what the series says besides its model and version."""
_DETAIL_LABELS = {"outcome", "error_type", "le"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Places:
    """Where the series of one model are, and which of them are one number over its versions."""

    places: Places
    slots: Places
    """For each of them the number that it is a part of: those of ``_SUMMED``, then buckets of
    durations, then of predictions."""
    duration_bounds: Floats
    prediction_bounds: Floats

    @classmethod
    def of(cls, details: Iterable[tuple[int, str, str]]) -> Self:
        """Sort series, given as place, name, and what they say besides model and version."""
        found = defaultdict(list)
        for place, name, detail in details:
            found[name, detail].append(place)
        bounds = {
            metric: sorted((float(le), le) for name, le in found if name == f"{metric}_bucket")
            for metric in (_DURATION, _PREDICTION)
        }
        buckets = [(f"{metric}_bucket", le) for metric in bounds for _, le in bounds[metric]]
        pairs = [
            (place, slot)
            for slot, key in enumerate((*_SUMMED, *buckets))
            for place in found.get(key, ())
        ]
        places, slots = np.array(pairs, dtype=np.intp).reshape(-1, 2).T
        duration_bounds, prediction_bounds = (
            np.array([bound for bound, _ in bounds[metric]]) for metric in (_DURATION, _PREDICTION)
        )
        return cls(
            places=places,
            slots=slots,
            duration_bounds=duration_bounds,
            prediction_bounds=prediction_bounds,
        )

    def counts(self, values: Floats) -> ModelCounts:
        """Add up the values of a layout."""
        durations, predictions = len(self.duration_bounds), len(self.prediction_bounds)
        count = len(_SUMMED) + durations + predictions
        sums = added_up(values[self.places], self.slots, count)
        scalars, buckets = sums[: len(_SUMMED)].tolist(), sums[len(_SUMMED) :]
        successes, errors, seconds, seconds_squared, scores, scores_squared, complement = scalars
        return ModelCounts(
            successes=successes,
            errors=errors,
            durations=HistogramCounts(
                bounds=self.duration_bounds,
                cumulative=buckets[:durations],
                total=seconds,
                total_of_squares=seconds_squared,
            ),
            predictions=HistogramCounts(
                bounds=self.prediction_bounds,
                cumulative=buckets[durations:],
                total=scores,
                total_of_squares=scores_squared,
            ),
            negative_log_complement=complement,
        )


def counts_by_model(increases: Mapping[Series, float]) -> Mapping[str, ModelCounts]:
    """Sort the growth of counters by model."""
    counters = Counters.of(increases)
    places = counters.layout.once(_places_by_model)
    return {model: of_model.counts(counters.array) for model, of_model in places.items()}


def _places_by_model(series: Sequence[Series]) -> Mapping[str, _Places]:
    details: defaultdict[str, list[tuple[int, str, str]]] = defaultdict(list)
    for place, (name, labels) in enumerate(series):
        model = detail = ""
        for label, text in labels:
            if label == "model":
                model = text
            elif label in _DETAIL_LABELS:
                detail = text
        if model:
            details[model].append((place, name, detail))
    return {model: _Places.of(of_model) for model, of_model in sorted(details.items())}


def counts_of_version(
    increases: Mapping[Series, float], model: str, version: str
) -> ModelCounts | None:
    """Pick the growth of one version of a model; None where it has no series."""
    return counts_by_model(of_version(increases, model, version)).get(model)


def of_version(
    increases: Mapping[Series, float], model: str, version: str
) -> Mapping[Series, float]:
    """Keep the series of one version of a model."""
    counters = Counters.of(increases)
    part = counters.layout.once(_parts_by_version).get(ModelVersion(model, version))
    return {} if part is None else counters.part(*part)


def _parts_by_version(series: Sequence[Series]) -> Mapping[ModelVersion, tuple[Layout, Places]]:
    places: defaultdict[ModelVersion, list[int]] = defaultdict(list)
    for place, its in enumerate(series):
        version = version_of(its)
        if version is not None:
            places[version].append(place)
    return {
        version: (Layout(series[place] for place in found), np.array(found, dtype=np.intp))
        for version, found in places.items()
    }


def version_of(series: Series) -> ModelVersion | None:
    """Read whose series it is; None where it is of no model version."""
    labels = dict(series.labels)
    if "model" in labels and "version" in labels:
        return ModelVersion(labels["model"], labels["version"])
    return None


def feature_counts(increases: Mapping[Series, float]) -> Mapping[tuple[str, str], float]:
    """Predictions by feature and value, of the series of one version of a model."""
    counters = Counters.of(increases)
    keys, places = counters.layout.once(_feature_places)
    return dict(zip(keys, counters.array[places].tolist(), strict=True))


def _feature_places(series: Sequence[Series]) -> tuple[Sequence[tuple[str, str]], Places]:
    keys = {
        (labels["feature"], labels["value"]): place
        for place, its in enumerate(series)
        if its.name == catalogue.FEATURE_VALUES.name
        for labels in (dict(its.labels),)
    }
    return tuple(keys), np.array(list(keys.values()), dtype=np.intp)


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
