"""A release: everything that an instance serves at one time, replaced as one."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np

from service.monitoring.baseline import Baseline
from service.monitoring.buckets import HOURS_PER_DAY
from service.monitoring.counts import ModelVersion
from service.monitoring.experiment.state import Plan
from service.prediction.ad_request import AdRequest
from service.prediction.experiment import Experiment
from service.prediction.features import DAYS_PER_WEEK
from service.prediction.model import ModelBundle


class ReleaseRefusedError(Exception):
    """What is on disk cannot be served; the message names the file and the fix."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Release:
    """Models and experiment that belong together, loaded and tried."""

    generation: int
    """Grows with every release of this instance, over restarts."""
    bundles: Mapping[str, ModelBundle]
    """Every model that is served, by name."""
    experiment: Experiment

    @property
    def by_version(self) -> Mapping[ModelVersion, ModelBundle]:
        """The same models, for those who have loaded a version already."""
        return {ModelVersion(name, b.version): b for name, b in self.bundles.items()}

    @property
    def plan(self) -> Plan:
        """The experiment, for those who judge it."""
        weights = {model: weight for model, weight in self.experiment.weights.items() if weight}
        return Plan(
            name=self.experiment.name,
            key=self.experiment.key,
            fingerprint=self.experiment.fingerprint,
            weights=weights,
            versions={model: self.bundles[model].version for model in weights},
        )

    @property
    def baselines(self) -> Mapping[str, Baseline]:
        """The baseline that training wrote, by model."""
        return {name: bundle.baseline for name, bundle in self.bundles.items()}


def try_out(bundle: ModelBundle) -> None:
    """Score a day's requests, of values that the model knows and of some that it does not.

    Raises:
        ReleaseRefusedError: The model fails, or a score is not a probability.
    """
    who = f"the model {bundle.name} version {bundle.version}"
    devices, placements = (bundle.encoder.vocabularies[f] for f in ("device", "placement"))
    requests = [
        AdRequest(f"user {hour}", f"ad {hour}", device, placement, hour, hour % DAYS_PER_WEEK)
        for hour, device, placement in zip(
            range(HOURS_PER_DAY),
            islice(cycle(devices), HOURS_PER_DAY),
            islice(cycle(placements), HOURS_PER_DAY),
            strict=True,
        )
    ]
    try:
        with np.errstate(all="ignore"):
            scores = bundle.model.predict(bundle.encoder.encode(requests))
    except Exception as error:
        raise ReleaseRefusedError(
            f"{who} fails a trial prediction ({error}); train again, or roll back"
        ) from error
    # Written so that a score that is no number is refused too.
    wrong = scores[~((scores >= 0) & (scores <= 1))]
    if len(wrong) or not np.shape(scores) == (len(requests),):
        raise ReleaseRefusedError(
            f"{who} fails a trial prediction: it answers "
            f"{wrong[0] if len(wrong) else f'{np.shape(scores)} scores'}, which is no "
            "click-through rate from 0 to 1; train again, or roll back"
        )
