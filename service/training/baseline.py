"""The baseline that a freshly trained model ships with: its behaviour on the validation part."""

from collections.abc import Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from service.monitoring.baseline import Baseline, HourlyDistribution
from service.monitoring.buckets import HOURS_PER_DAY, PREDICTION_BOUNDS
from service.monitoring.feature_drift.distribution import FeatureDistribution
from service.prediction.ad_request import AdRequest
from service.prediction.features import UNSEEN, FeatureEncoder
from service.training.click_log import ClickLog


def baseline_of(
    predictions: NDArray[np.float64],
    validation: ClickLog,
    *,
    judged: FeatureEncoder,
    shipped: FeatureEncoder,
    model_name: str,
    model_version: str,
    created_at: datetime,
) -> Baseline:
    """Describe ``predictions``, shape ``(n,)``, of the rows of ``validation``.

    What was new to the ``judged`` encoder counts as unseen, as the like of it will in serving;
    the ``shipped`` one has seen it all, and gives the names that serving counts under.

    Latency stays unknown: it is a property of the serving machine, which training never saw.
    """
    hours = validation.utc_hour
    distribution = HourlyDistribution.of(predictions, hours, PREDICTION_BOUNDS)
    requests = validation.requests()
    features = {
        name: _distribution(name, values, validation, _indices(name, requests, judged, shipped))
        for name, values in shipped.vocabularies.items()
    }
    return Baseline(
        model_name=model_name,
        model_version=model_version,
        mean_prediction=distribution.mean,
        std_prediction=distribution.std,
        observations=distribution.observations,
        predictions=distribution,
        features=features,
        source="training",
        created_at=created_at,
        created_by="train_models",
        note="what models of the same kind, trained before them, predicted for the latest rows",
    )


def _indices(
    feature: str,
    requests: Sequence[AdRequest],
    judged: FeatureEncoder,
    shipped: FeatureEncoder,
) -> NDArray[np.int64]:
    """Position of each request's value in the shipped vocabulary of ``feature``."""
    place = list(shipped.vocabularies).index(feature)
    indices = shipped.value_indices(requests)[:, place]
    if UNSEEN not in shipped.vocabularies[feature]:
        return indices
    unseen_then = judged.vocabularies[feature].index(UNSEEN)
    was_unseen = judged.value_indices(requests)[:, place] == unseen_then
    return np.where(was_unseen, shipped.vocabularies[feature].index(UNSEEN), indices)


def _distribution(
    feature: str, values: tuple[str, ...], log: ClickLog, indices: NDArray[np.int64]
) -> FeatureDistribution:
    if log.timestamp is None:
        # Which day it was nobody knows: neither do days differ nor can a weekday be judged.
        counts = _counts_of_hours(log.hour, indices, HOURS_PER_DAY, len(values))
        return FeatureDistribution(values, counts)
    hours, places = np.unique(
        log.timestamp.astype("datetime64[h]").astype(np.int64), return_inverse=True
    )
    counts = _counts_of_hours(places, indices, len(hours), len(values))
    return FeatureDistribution.of(feature, values, hours, counts)


def _counts_of_hours(
    places: NDArray[np.int64], indices: NDArray[np.int64], hours: int, size: int
) -> NDArray[np.int64]:
    counts = np.bincount(places * size + indices, minlength=hours * size)
    return counts.reshape(hours, size)
