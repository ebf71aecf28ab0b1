"""The model as a function of a chunk's features, on the CPU or a GPU."""

import os
from collections.abc import Callable
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from service.prediction.lean_xgboost import xgboost as xgb
from service.prediction.model import Model
from service.prediction.model_kinds import XGBoostModel
from service.training.click_log import TrainingError
from service.training.device import require_device

Predict = Callable[[NDArray[np.float32]], NDArray[np.float64]]


class ScoringError(Exception):
    """Scoring cannot be done as asked; the message names the cause and the fix."""


def prediction_of(model: Model, device: str) -> Predict:
    """Give the function that scores features, shape ``(n, d)``, on ``cpu`` or ``cuda``.

    It may be called by several threads at once.

    Raises:
        ScoringError: There is no such device here, or the model cannot use it.
    """
    if device == "cpu":
        # One thread for each chunk, and a chunk for each core: threads of one prediction would
        # wait for each other at its end.
        return model.predict
    if not isinstance(model, XGBoostModel):
        raise ScoringError(f"--device cuda is for XGBoost; a {model.kind} model needs the CPU")
    try:
        require_device(device)
    except TrainingError as error:
        raise ScoringError(str(error)) from error
    booster = xgb.Booster(model_file=bytearray(model.to_bytes()))
    booster.set_param({"device": device})

    one_at_a_time = Lock()

    def predict(features: NDArray[np.float32]) -> NDArray[np.float64]:
        matrix = xgb.DMatrix(features, feature_names=booster.feature_names)
        with one_at_a_time:
            return np.asarray(booster.predict(matrix), dtype=np.float64)

    return predict


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0))
