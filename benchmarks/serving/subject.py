"""What is measured: a model of 300 trees of depth 6, and 256 different requests for it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from service.prediction.ad_request import AdRequest
from service.prediction.features import FeatureEncoder
from service.prediction.lean_xgboost import xgboost as xgb
from service.prediction.model import ModelBundle, ModelMetadata, version_of
from service.prediction.model_folder import CURRENT_FILE, load_bundle, write_bundle
from service.prediction.model_kinds import XGBoostModel
from service.training.baseline import baseline_of
from service.training.click_log import ClickLog
from service.training.encoding import encode_log, fit_encoder, out_of_block_features
from service.training.simulation import simulate

MODEL_NAME = "xgboost"
TREES, DEPTH = 300, 6
BODIES = 256
BATCHES, BATCH_ROWS = 16, 1000
_LOG_ROWS, _SEED = 100_000, 0
_UNSEEN_SHARE = 0.1
"""Requests of users that the model never saw: in a real stream there are always some."""

# Leaves may be small, so that nearly every tree is as deep as it may be: about 30,000 nodes.
_PARAMETERS = {
    "objective": "binary:logistic",
    "tree_method": "hist",
    "max_depth": DEPTH,
    "eta": 0.05,
    "min_child_weight": 0.2,
    "nthread": 1,
    "seed": _SEED,
}


@dataclass(frozen=True)
class Subject:
    """The model and the requests, with the scores that XGBoost itself gives them."""

    models_dir: Path
    bundle: ModelBundle
    booster: xgb.Booster
    """Read from the file by XGBoost alone: what the service may do to its own is not in it."""
    requests: Sequence[AdRequest]
    """Each body of a batch is made of these too, ``BATCHES * BATCH_ROWS`` in all."""

    @classmethod
    def at(cls, folder: Path) -> Self:
        """Train it into ``folder``, or take what was trained there before."""
        home = folder / MODEL_NAME
        log = simulate(_LOG_ROWS, seed=_SEED).log
        if not (home / CURRENT_FILE).exists():
            write_bundle(folder, _trained(log))
        bundle = load_bundle(home)
        return cls(folder, bundle, load_booster(folder), _requests(log))

    @property
    def nodes(self) -> int:
        """How many nodes the trees have, leaves included."""
        return sum(len(tree.splitlines()) for tree in self.booster.get_dump())

    def matrix(self, rows: int) -> NDArray[np.float32]:
        """Features of the first requests, as the service encodes them, shape ``(rows, d)``."""
        return self.bundle.encoder.encode(self.requests[:rows])

    def scores(self, rows: int) -> NDArray[np.float32]:
        """Score the first requests by ``Booster.predict``, shape ``(rows,)``."""
        names = list(self.bundle.encoder.names)
        scores = self.booster.predict(xgb.DMatrix(self.matrix(rows), feature_names=names))
        return np.asarray(scores)

    def bodies(self) -> list[str]:
        """Bodies of ``/predict_ctr``."""
        return [json.dumps(request._asdict()) for request in self.requests[:BODIES]]

    def batches(self) -> list[str]:
        """Bodies of ``/predict_ctr/batch``."""
        return batches_of(self.requests, BATCH_ROWS)


def batches_of(requests: Sequence[AdRequest], rows: int) -> list[str]:
    """Put ``rows`` requests into each body of ``/predict_ctr/batch``."""
    ads = [request._asdict() for request in requests]
    starts = range(0, len(ads), rows)
    return [json.dumps({"requests": ads[start : start + rows]}) for start in starts]


def load_booster(models_dir: Path) -> xgb.Booster:
    """Read the current model's trees with nothing but XGBoost, for one thread."""
    home = models_dir / MODEL_NAME
    version = (home / CURRENT_FILE).read_text().strip()
    booster = xgb.Booster({"nthread": 1})
    booster.load_model(home / "versions" / version / XGBoostModel.file_name)
    return booster


def load_encoder(models_dir: Path) -> FeatureEncoder:
    """Read the current model's features."""
    return load_bundle(models_dir / MODEL_NAME).encoder


def _trained(log: ClickLog) -> ModelBundle:
    encoder = fit_encoder(log)
    matrix = xgb.DMatrix(
        out_of_block_features(log), label=log.click, feature_names=list(encoder.names)
    )
    model = XGBoostModel(xgb.train({**_PARAMETERS, "base_score": log.ctr}, matrix, TREES))
    now = datetime.now(UTC)
    version = version_of(model, encoder, created_at=now)
    return ModelBundle(
        name=MODEL_NAME,
        version=version,
        model=model,
        encoder=encoder,
        baseline=baseline_of(
            model.predict(encode_log(encoder, log)),
            log,
            judged=encoder,
            shipped=encoder,
            model_name=MODEL_NAME,
            model_version=version,
            created_at=now,
        ),
        metadata=ModelMetadata(
            created_at=now,
            data_description="simulated, for the benchmark of serving",
            train_rows=len(log),
            validation_rows=0,
            validation_metrics={},
            library_versions={"xgboost": xgb.__version__},
        ),
    )


def _requests(log: ClickLog) -> list[AdRequest]:
    rng = np.random.default_rng(_SEED)
    logged = log.requests()
    taken = rng.choice(len(logged), BATCHES * BATCH_ROWS, replace=False)
    unseen = rng.random(len(taken)) < _UNSEEN_SHARE
    return [
        logged[place]._replace(user_id=f"unseen{place}") if is_unseen else logged[place]
        for place, is_unseen in zip(taken, unseen, strict=True)
    ]
