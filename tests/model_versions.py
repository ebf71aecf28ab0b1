"""New versions of trained models, made in a moment: as training writes them, but different."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from service.monitoring.baseline import Baseline
from service.prediction.features import FeatureEncoder
from service.prediction.model import ModelBundle, ModelMetadata, version_of
from service.prediction.model_folder import load_bundle, write_bundle
from service.prediction.model_kinds import LogisticModel
from service.prediction.request_keys import KEYS


def first_version(models_dir: Path, name: str = "logistic") -> ModelBundle:
    """Write a logistic model that has seen nothing."""
    encoder = FeatureEncoder({key.table: {} for key in KEYS})
    size = len(encoder.names)
    model = LogisticModel(
        feature_names=encoder.names,
        means=np.zeros(size),
        scales=np.ones(size),
        weights=np.zeros(size),
        intercept=-3.0,
    )
    created = datetime(2026, 11, 23, tzinfo=UTC)
    version = version_of(model, encoder, created_at=created)
    bundle = ModelBundle(
        name=name,
        version=version,
        model=model,
        encoder=encoder,
        baseline=Baseline(
            model_name=name,
            model_version=version,
            mean_prediction=0.05,
            std_prediction=0.01,
            source="training",
            created_at=created,
            created_by="a test",
        ),
        metadata=ModelMetadata(
            created_at=created,
            data_description="none",
            train_rows=1,
            validation_rows=1,
            validation_metrics={},
            library_versions={},
        ),
    )
    write_bundle(models_dir, bundle)
    return bundle


def next_version(
    models_dir: Path,
    model: str = "logistic",
    *,
    shift: float = 0.25,
    devices: Sequence[str] = (),
    name: str | None = None,
) -> ModelBundle:
    """Write a version of a logistic model that is an hour younger and make it the current one.

    Args:
        models_dir: Where.
        model: Which; stays as it is where ``name`` is another.
        shift: Added to all log-odds; NaN and the like make a model that does not work.
        devices: Put in front of those that the model names.
        name: Of the new one; by default the same.
    """
    old = load_bundle(models_dir / model)
    assert isinstance(old.model, LogisticModel)
    changed = replace(old.model, intercept=old.model.intercept + shift)
    encoder = _with_devices(old.encoder, devices)
    created = old.metadata.created_at + timedelta(hours=1)
    version = version_of(changed, encoder, created_at=created)
    bundle = ModelBundle(
        name=name or model,
        version=version,
        model=changed,
        encoder=encoder,
        baseline=replace(old.baseline, model_name=name or model, model_version=version),
        metadata=replace(old.metadata, created_at=created),
    )
    write_bundle(models_dir, bundle)
    return bundle


def without_a_score(models_dir: Path, model: str = "logistic") -> ModelBundle:
    """Write a version whose every score is no number, though each of its parts is one."""
    old = load_bundle(models_dir / model)
    assert isinstance(old.model, LogisticModel)
    # Plus and minus infinity, once they are multiplied.
    weights = np.resize([1e308, -1e308], len(old.model.weights))
    scales = np.full(len(weights), 1e-300)
    means = old.model.means - 1e3
    broken = replace(old.model, means=means, weights=weights, scales=scales)
    created = old.metadata.created_at + timedelta(hours=1)
    version = version_of(broken, old.encoder, created_at=created)
    bundle = replace(
        old,
        version=version,
        model=broken,
        baseline=replace(old.baseline, model_version=version),
        metadata=replace(old.metadata, created_at=created),
    )
    write_bundle(models_dir, bundle)
    return bundle


def _with_devices(encoder: FeatureEncoder, devices: Sequence[str]) -> FeatureEncoder:
    content = json.loads(encoder.to_json())
    table = content["tables"]["device"]
    for column, values in table.items():
        table[column] = [*(devices if column == "keys" else [0.0] * len(devices)), *values]
    return FeatureEncoder.from_json(json.dumps(content))
