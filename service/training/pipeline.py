"""From a click log to model bundles: judge on the later part, fit on all, describe."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import sklearn

from service.prediction.features import FeatureEncoder
from service.prediction.lean_xgboost import xgboost as xgb
from service.prediction.model import Model, ModelBundle, ModelMetadata, version_of
from service.training.baseline import baseline_of
from service.training.click_log import ClickLog, split_by_time
from service.training.encoding import encode_log, fit_encoder, out_of_block_features
from service.training.evaluation import Quality, quality_of
from service.training.fit import choose_trees, fit_logistic, fit_xgboost, hyperparameters

VALIDATION_SHARE = 0.25
"""Latest share of the log that models are judged on."""


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """Every kind of model, fitted on one log with one encoder."""

    encoder: FeatureEncoder
    models: tuple[Model, ...]
    trees: int


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """Models to serve, and how good models made in the same way were on rows they had not seen."""

    bundles: tuple[ModelBundle, ...]
    """Fitted on all rows."""
    judged: Fitted
    """Fitted on the rows before the validation part."""
    qualities: Mapping[str, Quality]
    """Of the judged on the validation part; ``constant`` always predicts the CTR before it."""


def train(
    log: ClickLog,
    *,
    data_description: str,
    created_at: datetime,
    device: str = "cpu",
    seed: int = 0,
) -> Trained:
    """Judge every kind of model on the later part of a log, then fit it on all of the log.

    The latest rows are the most like those to come: on real logs, models that have seen them too
    were better by 0.010 of AUC and 0.007 of normalised entropy on what followed. Figures and
    baseline come from models that had not seen the rows, with the same number of trees.

    Raises:
        TrainingError: The log is too short to be split into parts with clicks and non-clicks.
    """
    training, validation = split_by_time(log, later_share=VALIDATION_SHARE)
    trees = choose_trees(training, device=device, seed=seed)
    judged = _fit(training, trees=trees, device=device, seed=seed)
    shipped = _fit(log, trees=trees, device=device, seed=seed)
    features = encode_log(judged.encoder, validation)
    qualities = {"constant": quality_of(np.full(len(validation), training.ctr), validation.click)}
    bundles = []
    for judged_model, model in zip(judged.models, shipped.models, strict=True):
        predictions = judged_model.predict(features)
        qualities[model.kind] = quality_of(predictions, validation.click)
        version = version_of(model, shipped.encoder, created_at=created_at)
        bundles.append(
            ModelBundle(
                name=model.kind,
                version=version,
                model=model,
                encoder=shipped.encoder,
                baseline=baseline_of(
                    predictions,
                    validation,
                    judged=judged.encoder,
                    shipped=shipped.encoder,
                    model_name=model.kind,
                    model_version=version,
                    created_at=created_at,
                ),
                metadata=ModelMetadata(
                    created_at=created_at,
                    data_description=data_description,
                    train_rows=len(log),
                    validation_rows=len(validation),
                    validation_metrics=qualities[model.kind].metrics(),
                    library_versions=_library_versions(),
                    parameters=hyperparameters(model.kind, trees=trees, device=device, seed=seed),
                ),
            )
        )
    return Trained(tuple(bundles), judged, qualities)


def _fit(log: ClickLog, *, trees: int, device: str, seed: int) -> Fitted:
    encoder = fit_encoder(log)
    features = out_of_block_features(log)
    models = (
        fit_xgboost(features, log, encoder=encoder, trees=trees, device=device, seed=seed),
        fit_logistic(features, log, encoder=encoder),
    )
    return Fitted(encoder, models, trees)


def _library_versions() -> Mapping[str, str]:
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "xgboost": xgb.__version__,
        "scikit-learn": sklearn.__version__,
    }
