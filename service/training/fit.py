"""Fitting the two kinds of model on a log."""

import os
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from service.prediction.features import FeatureEncoder
from service.prediction.lean_xgboost import xgboost as xgb
from service.prediction.model_kinds import LogisticModel, XGBoostModel
from service.prediction.request_keys import EFFECT
from service.progress import progress_of
from service.training.click_log import ClickLog, split_by_time
from service.training.encoding import encode_log, fit_encoder, out_of_block_features

MAX_TREES = 300
PATIENCE = 25
"""Trees without improvement after which the number of trees counts as found."""

STOPPING_SHARE = 0.2
"""Latest share of the training rows that the number of trees is chosen on."""

# Threads wait for each other by spinning: where another process holds a core, a second thread on
# a small log made training seven times slower, and on an idle machine it saves half a second.
_ROWS_PER_THREAD = 100_000
_MAX_THREADS = 8

# Few clicks tell little about an interaction: shallow trees, small steps, leaves of some weight.
_TREES: Mapping[str, str | float] = {
    "objective": "binary:logistic",
    "eval_metric": "logloss",
    "tree_method": "hist",
    "max_depth": 3,
    "eta": 0.05,
    "min_child_weight": 10,
    "subsample": 0.8,
    "colsample_bytree": 0.8,
    "lambda": 5,
}

_LOGISTIC_C = 0.01
"""Weight of the summed loss against the ridge penalty."""
_MAX_ITERATIONS = 1000

# A column that hardly varied in training (the only weekday of a short log) must not become
# decisive by being divided by next to nothing.
_SMALLEST_SCALE = 0.1


def choose_trees(log: ClickLog, *, device: str, seed: int) -> int:
    """Find how many trees to grow for ``log``.

    They are counted on its latest rows by a model that was fitted on the earlier ones, features
    included, so that nothing outside ``log`` is looked at.
    """
    earlier, later = split_by_time(log, later_share=STOPPING_SHARE)
    past = fit_encoder(earlier)
    trial = xgb.train(
        _parameters(earlier, past, device=device, seed=seed),
        _matrix(out_of_block_features(earlier), earlier, past),
        MAX_TREES,
        evals=[(_matrix(encode_log(past, later), later, past), "later")],
        early_stopping_rounds=PATIENCE,
        verbose_eval=False,
        callbacks=[_Progress("choosing the number of trees")],
    )
    return trial.best_iteration + 1


def fit_xgboost(
    features: NDArray[np.float32],
    log: ClickLog,
    *,
    encoder: FeatureEncoder,
    trees: int,
    device: str,
    seed: int,
) -> XGBoostModel:
    """Fit so many trees on ``features`` of ``log``, shape ``(n, d)``."""
    booster = xgb.train(
        _parameters(log, encoder, device=device, seed=seed),
        _matrix(features, log, encoder),
        trees,
        callbacks=[_Progress("growing trees", trees)],
    )
    return XGBoostModel(booster)


def fit_logistic(
    features: NDArray[np.float32], log: ClickLog, *, encoder: FeatureEncoder
) -> LogisticModel:
    """Fit a ridge logistic regression on standardised ``features`` of ``log``."""
    means = features.mean(axis=0, dtype=np.float64)
    deviations = features.std(axis=0, dtype=np.float64)
    scales = np.maximum(deviations, _SMALLEST_SCALE)
    regression = LogisticRegression(C=_LOGISTIC_C, max_iter=_MAX_ITERATIONS)
    regression.fit((features - means) / scales, log.click)
    return LogisticModel(
        feature_names=encoder.names,
        means=means,
        scales=scales,
        weights=regression.coef_[0],
        intercept=float(regression.intercept_[0]),
    )


def hyperparameters(kind: str, *, trees: int, device: str, seed: int) -> Mapping[str, str | float]:
    """What a kind of model was told, for the record of the release."""
    if kind == LogisticModel.kind:
        return {"C": _LOGISTIC_C, "max_iter": _MAX_ITERATIONS, "seed": seed}
    return {**_TREES, "trees": trees, "device": device, "seed": seed}


def _parameters(
    log: ClickLog, encoder: FeatureEncoder, *, device: str, seed: int
) -> dict[str, object]:
    return {
        **_TREES,
        "base_score": log.ctr,
        "device": device,
        "seed": seed,
        # More clicks in the past never lower a score: what contradicts this is noise.
        "monotone_constraints": tuple(int(name.endswith(EFFECT)) for name in encoder.names),
        "nthread": min(max(len(log) // _ROWS_PER_THREAD, 1), os.cpu_count() or 1, _MAX_THREADS),
    }


def _matrix(features: NDArray[np.float32], log: ClickLog, encoder: FeatureEncoder) -> xgb.DMatrix:
    return xgb.DMatrix(features, label=log.click, feature_names=list(encoder.names))


class _Progress(xgb.callback.TrainingCallback):
    """A bar that moves with every tree."""

    def __init__(self, description: str, total: int | None = None) -> None:
        super().__init__()
        self._bar = progress_of(description, "tree", total=total)

    def after_iteration(self, model: object, epoch: int, evals_log: object) -> bool:
        del model, epoch, evals_log
        self._bar.update()
        return False

    def after_training(self, model: xgb.Booster) -> xgb.Booster:
        self._bar.close()
        return model
