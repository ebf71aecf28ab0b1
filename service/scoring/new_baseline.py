"""A model together with the baseline that it has on a log."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from service.monitoring.drift.reference import Reference
from service.prediction.model import ModelBundle, version_of
from service.scoring.predicting import ScoringError
from service.settings import Settings
from service.training.behaviour import Behaviour


def with_baseline_of(
    behaviour: Behaviour,
    bundle: ModelBundle,
    log: Sequence[Path],
    *,
    settings: Settings,
    created_at: datetime,
    as_new_version: bool,
) -> ModelBundle:
    """Describe a model by its behaviour on a log, optionally under a version of its own.

    Raises:
        ScoringError: The behaviour cannot be a reference.
    """
    if behaviour.predictions.observations < settings.min_predictions:
        raise ScoringError(
            f"a baseline needs {settings.min_predictions} rows (CTR_MIN_PREDICTIONS), "
            f"and {', '.join(map(str, log))} has {behaviour.predictions.observations}"
        )
    version = bundle.version
    if as_new_version:
        version = version_of(bundle.model, bundle.encoder, created_at=created_at)
    baseline = behaviour.baseline(
        model_name=bundle.name,
        model_version=version,
        created_at=created_at,
        created_by="score",
        note=f"what it predicted for {', '.join(path.name for path in log)}",
    )
    try:
        Reference.of(baseline, materiality=settings.materiality)
    except ValueError as error:
        raise ScoringError(f"no baseline can be made of these rows: {error}") from error
    return replace(bundle, version=version, baseline=baseline)
