"""Where XGBoost computes."""

import json

import numpy as np

from service.prediction.lean_xgboost import xgboost as xgb
from service.training.click_log import TrainingError


def require_device(device: str) -> None:
    """Make sure that XGBoost can compute on ``cpu`` or ``cuda`` here.

    Raises:
        TrainingError: The installed XGBoost has no CUDA, or there is no GPU.
    """
    if device == "cpu":
        return
    if not xgb.build_info()["USE_CUDA"]:
        raise TrainingError(
            "--device cuda needs XGBoost with CUDA, and this one is built for the CPU; "
            "install the extra 'gpu' instead of 'cpu', or leave it out"
        )
    tiny = xgb.DMatrix(np.array([[0.0], [1.0]]), label=np.array([0.0, 1.0]))
    try:
        booster = xgb.train({"device": device}, tiny, 1)
    except xgb.core.XGBoostError as error:
        raise TrainingError(f"--device cuda failed: {str(error).splitlines()[0]}") from error
    used = json.loads(booster.save_config())["learner"]["generic_param"]["device"]
    if not used.startswith("cuda"):
        raise TrainingError("--device cuda found no GPU; leave it out")
