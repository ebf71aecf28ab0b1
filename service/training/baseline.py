"""The baseline that a freshly trained model ships with: its behaviour on the validation part."""

from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from service.monitoring.baseline import Baseline, FeatureDistribution, HourlyDistribution
from service.monitoring.buckets import HOURS_PER_DAY, PREDICTION_BOUNDS
from service.prediction.features import FeatureEncoder
from service.training.click_log import ClickLog


def baseline_of(
    predictions: NDArray[np.float64],
    validation: ClickLog,
    encoder: FeatureEncoder,
    *,
    model_name: str,
    model_version: str,
    created_at: datetime,
) -> Baseline:
    """Describe ``predictions``, shape ``(n,)``, of the rows of ``validation``.

    Latency stays unknown: it is a property of the serving machine, which training never saw.
    """
    hours = validation.utc_hour
    distribution = HourlyDistribution.of(predictions, hours, PREDICTION_BOUNDS)
    indices = np.array([encoder.value_indices(request) for request in validation.requests()])
    return Baseline(
        model_name=model_name,
        model_version=model_version,
        mean_prediction=distribution.mean,
        std_prediction=distribution.std,
        observations=distribution.observations,
        predictions=distribution,
        features={
            name: FeatureDistribution(values, _hourly_counts(hours, column, size=len(values)))
            for (name, values), column in zip(encoder.vocabularies.items(), indices.T, strict=True)
        },
        source="training",
        created_at=created_at,
        created_by="train_models",
        note="predictions on the validation part of the training log",
    )


def _hourly_counts(
    hours: NDArray[np.int64], indices: NDArray[np.int64], *, size: int
) -> NDArray[np.int64]:
    counts = np.bincount(hours * size + indices, minlength=HOURS_PER_DAY * size)
    return counts.reshape(HOURS_PER_DAY, size)
