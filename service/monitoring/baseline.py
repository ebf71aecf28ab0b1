"""What a model looked like when it was known to be right: the reference that drift is held against.

A baseline always has the two moments of the predictions. Training and capture from traffic also
know the distributions by hour of day; four numbers typed by a person do not, and then the finer
fields are ``None`` rather than invented.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from service.monitoring import stored_fields
from service.monitoring.buckets import HOURS_PER_DAY, bucket_counts
from service.monitoring.drift.wander import Wander
from service.monitoring.feature_drift.distribution import FeatureDistribution

BASELINE_FORMAT = 1

BaselineSource = Literal["training", "request", "capture"]


@dataclass(frozen=True, slots=True, eq=False)
class HourlyDistribution:
    """Histogram and exact moments of one quantity for each hour of the UTC day."""

    bounds: NDArray[np.float64]
    """Ascending finite upper bounds, shape ``(b,)``."""
    counts: NDArray[np.int64]
    """Observations per hour and bucket, not cumulative, shape ``(24, b + 1)``."""
    sums: NDArray[np.float64]
    """Sum of the observations per hour, shape ``(24,)``."""
    sums_of_squares: NDArray[np.float64]
    """Sum of their squares per hour, shape ``(24,)``."""

    @classmethod
    def of(
        cls,
        values: NDArray[np.float64],
        hours: NDArray[np.int64],
        bounds: tuple[float, ...],
    ) -> Self:
        """Bin ``values``, shape ``(n,)``, by their ``hours`` of day, shape ``(n,)``."""
        edges = np.asarray(bounds)
        per_hour = [values[hours == hour] for hour in range(HOURS_PER_DAY)]
        return cls(
            bounds=edges,
            counts=np.stack([bucket_counts(part, edges) for part in per_hour]),
            sums=np.array([part.sum() for part in per_hour]),
            sums_of_squares=np.array([np.square(part).sum() for part in per_hour]),
        )

    def __add__(self, other: Self) -> Self:
        """Take the observations of both, of the same bounds, together."""
        return type(self)(
            bounds=self.bounds,
            counts=self.counts + other.counts,
            sums=self.sums + other.sums,
            sums_of_squares=self.sums_of_squares + other.sums_of_squares,
        )

    @property
    def observations(self) -> int:
        """Number of values behind the distribution."""
        return int(self.counts.sum())

    @property
    def mean(self) -> float:
        """Mean over all hours; NaN where there is no observation."""
        return float(self.sums.sum() / self.observations) if self.observations else math.nan

    @property
    def hourly_means(self) -> list[float | None]:
        """Mean of each hour of the day; None where it has no observation."""
        sizes = self.counts.sum(axis=1).tolist()
        return [
            total / size if size else None
            for total, size in zip(self.sums.tolist(), sizes, strict=True)
        ]

    @property
    def std(self) -> float:
        """Population standard deviation over all hours; NaN where there is no observation."""
        if not self.observations:
            return math.nan
        variance = self.sums_of_squares.sum() / self.observations - self.mean**2
        return math.sqrt(max(variance, 0.0))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Baseline:
    """The reference of one model version."""

    model_name: str
    model_version: str
    mean_prediction: float
    """Predicted CTR, a ratio."""
    std_prediction: float
    mean_latency_seconds: float | None = None
    std_latency_seconds: float | None = None
    observations: int | None = None
    """Predictions behind the moments; unknown for numbers typed by a person."""
    window_std_prediction: float | None = None
    """Standard deviation between window means beyond sampling noise."""
    window_std_latency_seconds: float | None = None
    predictions: HourlyDistribution | None = None
    latency: HourlyDistribution | None = None
    prediction_wander: Wander | None = None
    """How tick means move without anything being wrong; None where nobody measured it."""
    latency_wander: Wander | None = None
    features: Mapping[str, FeatureDistribution] = field(default_factory=dict)
    source: BaselineSource
    window_start: float | None = None
    """Unix seconds; of traffic that was captured, the true beginning."""
    window_end: float | None = None
    created_at: datetime
    created_by: str
    note: str = ""

    def to_json(self) -> str:
        """Serialise without loss; floats round-trip exactly."""
        return json.dumps(
            {
                "format": BASELINE_FORMAT,
                "model_name": self.model_name,
                "model_version": self.model_version,
                "mean_prediction": self.mean_prediction,
                "std_prediction": self.std_prediction,
                "mean_latency_seconds": self.mean_latency_seconds,
                "std_latency_seconds": self.std_latency_seconds,
                "observations": self.observations,
                "window_std_prediction": self.window_std_prediction,
                "window_std_latency_seconds": self.window_std_latency_seconds,
                "predictions": _distribution_to_json(self.predictions),
                "latency": _distribution_to_json(self.latency),
                "prediction_wander": _written(self.prediction_wander),
                "latency_wander": _written(self.latency_wander),
                "features": {name: feature.to_json() for name, feature in self.features.items()},
                "source": self.source,
                "window_start": self.window_start,
                "window_end": self.window_end,
                "created_at": self.created_at.isoformat(),
                "created_by": self.created_by,
                "note": self.note,
            },
            allow_nan=False,
        )

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises:
            ValueError: The text is not a baseline of this format; the message names the field.
        """
        try:
            content = json.loads(text)
            if content["format"] != BASELINE_FORMAT:
                raise ValueError(f"baseline format {content['format']} is not {BASELINE_FORMAT}")
            return cls(
                model_name=stored_fields.text(content, "model_name"),
                model_version=stored_fields.text(content, "model_version"),
                mean_prediction=stored_fields.number(content, "mean_prediction", least=0),
                std_prediction=stored_fields.number(content, "std_prediction", least=0),
                mean_latency_seconds=_or_none(content, "mean_latency_seconds"),
                std_latency_seconds=_or_none(content, "std_latency_seconds"),
                observations=_whole_or_none(content, "observations"),
                window_std_prediction=_or_none(content, "window_std_prediction"),
                window_std_latency_seconds=_or_none(content, "window_std_latency_seconds"),
                predictions=_distribution_from_json(content["predictions"]),
                latency=_distribution_from_json(content["latency"]),
                # Absent from baselines that were stored before wander was measured.
                prediction_wander=_wander(content.get("prediction_wander")),
                latency_wander=_wander(content.get("latency_wander")),
                features={
                    name: FeatureDistribution.from_json(feature)
                    for name, feature in content["features"].items()
                },
                source=_source(content),
                window_start=_or_none(content, "window_start"),
                window_end=_or_none(content, "window_end"),
                created_at=datetime.fromisoformat(content["created_at"]),
                created_by=stored_fields.text(content, "created_by"),
                note=stored_fields.text(content, "note"),
            )
        except KeyError as error:
            raise ValueError(f"baseline lacks the field {error}") from error
        except stored_fields.MALFORMED as error:
            raise ValueError(f"baseline is malformed: {error}") from error


def _or_none(content: Mapping[str, Any], field: str) -> float | None:
    return stored_fields.number_or_none(content, field, least=0)


def _whole_or_none(content: Mapping[str, Any], field: str) -> int | None:
    found = _or_none(content, field)
    return None if found is None else round(found)


def _source(content: Mapping[str, Any]) -> BaselineSource:
    found: BaselineSource = content["source"]
    if found not in get_args(BaselineSource):
        raise ValueError(f"source: {found!r:.40} is none of {', '.join(get_args(BaselineSource))}")
    return found


def _distribution_to_json(distribution: HourlyDistribution | None) -> dict[str, Any] | None:
    if distribution is None:
        return None
    return {
        "bounds": distribution.bounds.tolist(),
        "counts": distribution.counts.tolist(),
        "sums": distribution.sums.tolist(),
        "sums_of_squares": distribution.sums_of_squares.tolist(),
    }


def _distribution_from_json(content: dict[str, Any] | None) -> HourlyDistribution | None:
    if content is None:
        return None
    bounds = stored_fields.floats(content, "bounds", (None,))
    if not (np.diff(bounds) > 0).all():
        raise ValueError("bounds: they do not ascend")
    hours = HOURS_PER_DAY
    return HourlyDistribution(
        bounds=bounds,
        counts=stored_fields.counts(content, "counts", (hours, len(bounds) + 1)),
        sums=stored_fields.floats(content, "sums", (hours,)),
        sums_of_squares=stored_fields.floats(content, "sums_of_squares", (hours,)),
    )


def _written(wander: Wander | None) -> dict[str, Any] | None:
    return None if wander is None else wander.to_json()


def _wander(content: dict[str, Any] | None) -> Wander | None:
    return None if content is None else Wander.from_json(content)
