"""What a model predicted for some rows, in a form that adds up: a log may come in pieces."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Self

import numpy as np
from numpy.typing import NDArray

from service.monitoring.baseline import Baseline, HourlyDistribution
from service.monitoring.buckets import HOURS_PER_DAY, PREDICTION_BOUNDS
from service.monitoring.feature_drift.distribution import FeatureDistribution
from service.training.click_log import Impressions


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Behaviour:
    """Predictions and feature values, counted by hour."""

    predictions: HourlyDistribution
    vocabularies: Mapping[str, tuple[str, ...]]
    """Every value that a feature can take, by feature."""
    hours: NDArray[np.int64]
    """Ascending, shape ``(h,)``: since the Unix epoch, or of the day where ``dated`` is false."""
    dated: bool
    """Whether the rows told which day it was."""
    counts: tuple[NDArray[np.int64], ...]
    """Rows per hour and value, shape ``(h, values)``, for each of ``vocabularies``."""

    @classmethod
    def of(
        cls,
        predictions: NDArray[np.float64],
        rows: Impressions,
        indices: NDArray[np.int64],
        vocabularies: Mapping[str, tuple[str, ...]],
    ) -> Self:
        """Count.

        Args:
            predictions: For each row, shape ``(n,)``.
            rows: What was predicted for.
            indices: Position of each row's value in each of ``vocabularies``, shape ``(n, v)``.
            vocabularies: Every value that a feature can take, by feature.
        """
        dated = rows.timestamp is not None
        if rows.timestamp is not None:
            since_epoch = rows.timestamp.astype("datetime64[h]").astype(np.int64)
            hours, places = np.unique(since_epoch, return_inverse=True)
        else:
            # Which day it was nobody knows: neither do days differ nor can a weekday be judged.
            hours, places = np.arange(HOURS_PER_DAY), rows.hour
        return cls(
            predictions=HourlyDistribution.of(predictions, rows.utc_hour, PREDICTION_BOUNDS),
            vocabularies=vocabularies,
            hours=hours,
            dated=dated,
            counts=tuple(
                _counts(places, column, len(hours), len(values))
                for column, values in zip(indices.T, vocabularies.values(), strict=True)
            ),
        )

    def __add__(self, other: Self) -> Self:
        """Take the rows of both, dated alike and of the same vocabularies, together."""
        hours = np.union1d(self.hours, other.hours)
        return type(self)(
            predictions=self.predictions + other.predictions,
            vocabularies=self.vocabularies,
            hours=hours,
            dated=self.dated,
            counts=tuple(
                _spread(mine, self.hours, hours) + _spread(its, other.hours, hours)
                for mine, its in zip(self.counts, other.counts, strict=True)
            ),
        )

    def baseline(
        self,
        *,
        model_name: str,
        model_version: str,
        created_at: datetime,
        created_by: str,
        note: str,
    ) -> Baseline:
        """Make it the reference of a model.

        Latency stays unknown: it is a property of the serving machine, which a log never saw.
        """
        return Baseline(
            model_name=model_name,
            model_version=model_version,
            mean_prediction=self.predictions.mean,
            std_prediction=self.predictions.std,
            observations=self.predictions.observations,
            predictions=self.predictions,
            features={
                name: FeatureDistribution.of(name, values, self.hours, counts)
                if self.dated
                else FeatureDistribution(values, counts)
                for (name, values), counts in zip(
                    self.vocabularies.items(), self.counts, strict=True
                )
            },
            source="training",
            created_at=created_at,
            created_by=created_by,
            note=note,
        )


def _counts(
    places: NDArray[np.int64], indices: NDArray[np.int64], hours: int, size: int
) -> NDArray[np.int64]:
    counts = np.bincount(places * size + indices, minlength=hours * size)
    return counts.reshape(hours, size)


def _spread(
    counts: NDArray[np.int64], hours: NDArray[np.int64], over: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Put the rows of ``hours`` where those are among more hours."""
    spread = np.zeros((len(over), counts.shape[1]), dtype=np.int64)
    spread[np.searchsorted(over, hours)] = counts
    return spread
