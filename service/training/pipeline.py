"""From a click log to model bundles: split by time, fit, judge on the later part, describe."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import sklearn

from service.prediction.lean_xgboost import xgboost as xgb
from service.prediction.model import Model, ModelBundle, ModelMetadata, version_of
from service.training.baseline import baseline_of
from service.training.click_log import ClickLog, split_by_time
from service.training.encoding import encode_log, fit_encoder, out_of_block_features
from service.training.evaluation import Quality, quality_of
from service.training.fit import fit_logistic, fit_xgboost

VALIDATION_SHARE = 0.25
"""Latest share of the log that models are judged on and never see."""


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """Models with the proof of how good they are."""

    bundles: tuple[ModelBundle, ...]
    qualities: Mapping[str, Quality]
    """On the validation part, by model; ``constant`` always predicts the CTR of training."""


def train(
    log: ClickLog,
    *,
    data_description: str,
    created_at: datetime,
    device: str = "cpu",
    seed: int = 0,
) -> Trained:
    """Train every kind of model on the earlier part of a log and judge it on the later part.

    The models that were judged are the ones that are returned, not refitted on all rows: then the
    validation figures and the baseline are theirs.

    Raises:
        TrainingError: The log is too short to be split into parts with clicks and non-clicks.
    """
    training, validation = split_by_time(log, later_share=VALIDATION_SHARE)
    encoder = fit_encoder(training)
    features = out_of_block_features(training)
    validation_features = encode_log(encoder, validation)
    models: tuple[Model, ...] = (
        fit_xgboost(features, training, encoder=encoder, device=device, seed=seed),
        fit_logistic(features, training, encoder=encoder),
    )
    constant = np.full(len(validation), training.ctr)
    qualities = {"constant": quality_of(constant, validation.click)}
    bundles = []
    for model in models:
        predictions = model.predict(validation_features)
        qualities[model.kind] = quality_of(predictions, validation.click)
        version = version_of(model, encoder, created_at=created_at)
        bundles.append(
            ModelBundle(
                name=model.kind,
                version=version,
                model=model,
                encoder=encoder,
                baseline=baseline_of(
                    predictions,
                    validation,
                    encoder,
                    model_name=model.kind,
                    model_version=version,
                    created_at=created_at,
                ),
                metadata=ModelMetadata(
                    created_at=created_at,
                    data_description=data_description,
                    train_rows=len(training),
                    validation_rows=len(validation),
                    validation_metrics=qualities[model.kind].metrics(),
                    library_versions={
                        "python": platform.python_version(),
                        "numpy": np.__version__,
                        "xgboost": xgb.__version__,
                        "scikit-learn": sklearn.__version__,
                    },
                ),
            )
        )
    return Trained(tuple(bundles), qualities)
