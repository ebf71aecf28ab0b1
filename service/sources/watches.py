"""Everything that is judged in one scope besides health, each thing at ticks of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from service.monitoring.clicks import COHORT_SECONDS
from service.monitoring.counts import ModelVersion
from service.monitoring.drift.ticks import TICK_SECONDS
from service.monitoring.experiment.report import ExperimentReport
from service.monitoring.history import Tick
from service.monitoring.quality.measures import Quality
from service.sources.active_baselines import ActiveBaselines
from service.sources.calibration_watch import CalibrationWatch
from service.sources.drift_watch import DriftSight, DriftWatch
from service.sources.experiment_watch import ExperimentWatch
from service.sources.feature_watch import FeatureSight, FeatureWatch
from service.sources.quality_watch import QualityWatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Sights:
    """What was concluded at one tick, for the gauges."""

    drift: Sequence[DriftSight] = ()
    """Of every model, at a tick of drift detection; else empty."""
    features: Sequence[FeatureSight] = ()
    """The same of what the models are asked."""
    quality: Mapping[ModelVersion, Quality] = field(default_factory=dict)
    """Of every model, when a minute has begun or matured; else empty."""
    experiment: ExperimentReport | None = None
    """At the same ticks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watches:
    """The judges of one scope."""

    drift: DriftWatch
    calibration: CalibrationWatch
    """Holds clicks against predictions; drift tells of it."""
    features: FeatureWatch
    quality: QualityWatch
    experiment: ExperimentWatch
    baselines: ActiveBaselines
    """Know what is served."""
    interval_seconds: float
    """From one tick to the next."""

    def advance(self, row: Tick) -> Sights:
        """Fold in what is new at a tick; blocks, and is durable when it returns."""
        found = Sights()
        if self._due(row.tick):
            # Before drift, which tells of it.
            self.calibration.advance(row.snapshot.at)
            found = replace(
                found,
                experiment=self.experiment.advance(row.tick),
                quality=self._quality(row.tick),
            )
        if row.tick % TICK_SECONDS == 0:
            found = replace(
                found,
                drift=self.drift.advance(row.snapshot),
                features=self.features.advance(row.snapshot),
            )
        return found

    def sights(self, boundary: float) -> Sights:
        """Say what was concluded last, whoever did the work.

        Args:
            boundary: The tick, in Unix seconds.
        """
        return Sights(
            drift=self.drift.sights(),
            features=self.features.sights(boundary),
            quality=self._quality(boundary) if self._due(boundary) else {},
            experiment=self.experiment.report(),
        )

    def _due(self, tick: float) -> bool:
        """Whether a minute has begun, or one of predictions has matured, since the last tick."""
        last = tick - self.interval_seconds
        matured = self.quality.mature_until(tick) > self.quality.mature_until(last)
        return matured or tick % COHORT_SECONDS == 0

    def _quality(self, boundary: float) -> Mapping[ModelVersion, Quality]:
        served = (ModelVersion(*model) for model in self.baselines.models.items())
        return {model: self.quality.quality(model, boundary) for model in served}
