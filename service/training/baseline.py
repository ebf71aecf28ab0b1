"""The baseline that a freshly trained model ships with: its behaviour on the validation part."""

from collections.abc import Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from service.monitoring.baseline import Baseline
from service.prediction.ad_request import AdRequest
from service.prediction.features import UNSEEN, FeatureEncoder
from service.training.behaviour import Behaviour
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
    """
    indices = _indices(validation.requests(), judged, shipped)
    return Behaviour.of(predictions, validation, indices, shipped.vocabularies).baseline(
        model_name=model_name,
        model_version=model_version,
        created_at=created_at,
        created_by="train_models",
        note="what models of the same kind, trained before them, predicted for the latest rows",
    )


def _indices(
    requests: Sequence[AdRequest], judged: FeatureEncoder, shipped: FeatureEncoder
) -> NDArray[np.int64]:
    """Position of each request's values in the shipped vocabularies, shape ``(n, v)``."""
    indices = shipped.value_indices(requests)
    then = judged.value_indices(requests)
    for place, (feature, values) in enumerate(shipped.vocabularies.items()):
        if UNSEEN in values:
            was_unseen = then[:, place] == judged.vocabularies[feature].index(UNSEEN)
            indices[was_unseen, place] = values.index(UNSEEN)
    return indices
