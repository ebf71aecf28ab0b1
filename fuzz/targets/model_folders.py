"""Folders of models, damaged in front of the checksums and behind them.

Law: a damaged folder gives ``ModelFolderError``, or the model that was written there. Where whoever
damaged a file has put its new checksum into the metadata, another model may result, but one that
encodes, scores and writes its baseline out as any other does.
"""

import hashlib
import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from fuzz.damage import Choices, damaged
from service.monitoring.baseline import Baseline, HourlyDistribution
from service.monitoring.drift.wander import Wander
from service.monitoring.feature_drift.distribution import FeatureDistribution
from service.prediction.ad_request import AdRequest
from service.prediction.features import FeatureEncoder
from service.prediction.model import ModelBundle, ModelMetadata, version_of
from service.prediction.model_folder import ModelFolderError, load_bundle, write_bundle
from service.prediction.model_kinds import LogisticModel
from service.prediction.request_keys import KEYS

_ROWS = [AdRequest("u", "a", "mobile", "header", hour, 0) for hour in (0, 14)]
_METADATA, _CURRENT = "metadata.json", "CURRENT"
_HOME = tempfile.TemporaryDirectory()
_FOLDER = Path(_HOME.name) / "logistic"


def _written() -> ModelBundle:
    """Write a small model with all that a baseline can have."""
    encoder = FeatureEncoder({key.table: _table(len(key.features)) for key in KEYS})
    size = len(encoder.names)
    model = LogisticModel(
        feature_names=encoder.names,
        means=np.linspace(-1, 1, size),
        scales=np.linspace(0.5, 2, size),
        weights=np.linspace(-0.3, 0.4, size),
        intercept=-2.0,
    )
    created = datetime(2026, 11, 23, tzinfo=UTC)
    version = version_of(model, encoder, created_at=created)
    hours = np.arange(24)
    distribution = HourlyDistribution.of(np.linspace(0.01, 0.9, 24), hours, (0.1, 0.5))
    counts = np.full((24, 2), 100)
    wander = Wander(
        lag_seconds=np.array([5.0, 10.0]),
        autocovariances=np.full((2, 2), 0.1),
        errors=np.full((2, 2), 0.01),
        ticks=300,
    )
    bundle = ModelBundle(
        name=_FOLDER.name,
        version=version,
        model=model,
        encoder=encoder,
        baseline=Baseline(
            model_name=_FOLDER.name,
            model_version=version,
            mean_prediction=0.05,
            std_prediction=0.01,
            mean_latency_seconds=0.01,
            std_latency_seconds=0.01,
            observations=24,
            predictions=distribution,
            prediction_wander=wander,
            features={"device": FeatureDistribution(("mobile", "(unseen)"), counts)},
            source="training",
            created_at=created,
            created_by="fuzz",
        ),
        metadata=ModelMetadata(
            created_at=created,
            data_description="none",
            train_rows=1,
            validation_rows=1,
            validation_metrics={"auc": 0.7},
            library_versions={"numpy": "2"},
        ),
    )
    write_bundle(_FOLDER.parent, bundle)
    return bundle


def _table(features: int) -> dict[str | int, bytes]:
    return {"mobile": np.linspace(0.1, 0.4, features, dtype=np.float32).tobytes()}


_BUNDLE = _written()
_VERSION = _FOLDER / "versions" / _BUNDLE.version
_PATHS = [_FOLDER / _CURRENT, *sorted(_VERSION.iterdir())]
_INTACT = {path: path.read_bytes() for path in _PATHS}
_SCORES = _BUNDLE.model.predict(_BUNDLE.encoder.encode(_ROWS)).tolist()


def seeds() -> list[bytes]:
    """Each file as it is, and places to change, with the checksum and without."""
    return [
        *(bytes([0, at]) + _INTACT[path][:2000] for at, path in enumerate(_PATHS)),
        *(bytes([how, at, 0, 1, 2]) for how in (1, 3) for at in range(len(_PATHS))),
        *(
            bytes([how, at, 0, 1, field, 7, odd])
            for how in (2, 3)
            for at in range(1, len(_PATHS))
            for field in range(0, 24, 2)
            for odd in (0, 4, 14, 21, 27)
        ),
    ]


def check(data: bytes) -> None:
    """Replace a file or change it, and give it a new checksum or not; then load the model."""
    choices = Choices(data)
    how, path = choices.below(4), _PATHS[choices.below(len(_PATHS))]
    match how:
        case 0:
            content = choices.rest
        case 1:
            content = _with_changed_bytes(_INTACT[path], choices)
        case _ if path.name == _CURRENT:
            content = choices.rest
        case _:
            content = damaged(_INTACT[path], choices)
    changed = {**_INTACT, path: content}
    sealed_anew = how > 2 and path.name not in {_CURRENT, _METADATA}
    if sealed_anew:
        metadata = json.loads(_INTACT[_VERSION / _METADATA])
        metadata["sha256"][path.name] = hashlib.sha256(content).hexdigest()
        changed[_VERSION / _METADATA] = json.dumps(metadata).encode()
    for file, bytes_ in changed.items():
        file.write_bytes(bytes_)
    try:
        bundle = load_bundle(_FOLDER)
    except ModelFolderError:
        return
    scores = bundle.model.predict(bundle.encoder.encode(_ROWS))
    if sealed_anew:
        assert scores.shape == (len(_ROWS),)
        Baseline.from_json(bundle.baseline.to_json())
    else:
        assert scores.tolist() == _SCORES
        assert bundle.baseline.to_json() == _BUNDLE.baseline.to_json()
    bundle.encoder.value_indices(_ROWS)


def _with_changed_bytes(content: bytes, choices: Choices) -> bytes:
    changed = bytearray(content)
    for _ in range(1 + choices.below(4)):
        changed[choices.below(len(changed))] = choices.below(256)
    return bytes(changed)
