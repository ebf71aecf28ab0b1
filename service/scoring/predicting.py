"""The model as a function of a chunk's features, on the CPU or a GPU."""

import os
from collections.abc import Callable
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
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
        return _each_once(model.predict) if isinstance(model, XGBoostModel) else model.predict
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


def _each_once(predict: Predict) -> Predict:
    """Predict rows that are alike once: in real logs many are, once unseen users look the same.

    To find them takes a thirtieth of what 300 trees take for all rows.
    """

    def predict_distinct(features: NDArray[np.float32]) -> NDArray[np.float64]:
        length, columns = features.shape
        kind = pa.binary(columns * features.itemsize)
        content = pa.py_buffer(features.tobytes())
        rows = pa.FixedSizeBinaryArray.from_buffers(kind, length, [None, content])
        encoded: Any = rows.dictionary_encode()  # not in its stubs
        distinct = np.frombuffer(encoded.dictionary.buffers()[1], dtype=np.float32)
        scores = predict(distinct.reshape(-1, columns))
        of_row: NDArray[np.float64] = scores[encoded.indices.to_numpy()]
        return of_row

    return predict_distinct


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0))
