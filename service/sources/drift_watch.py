"""Runs the drift detector of every model, and remembers its state with each tick."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from service.monitoring.baseline import Baseline
from service.monitoring.buckets import LATENCY_BOUNDS, PREDICTION_BOUNDS
from service.monitoring.counts import ModelCounts, ModelVersion, counts_of_version
from service.monitoring.drift.detector import DriftDetector
from service.monitoring.drift.reference import Reference
from service.monitoring.drift.report import DriftReport, report
from service.monitoring.drift.sample import DriftSample
from service.monitoring.drift.state import DriftState
from service.monitoring.drift.ticks import TICK_SECONDS, Ticks
from service.monitoring.drift.window_test import DriftThresholds
from service.monitoring.monitor import Source
from service.monitoring.snapshot import Snapshot
from service.sources.active_baselines import ActiveBaselines
from service.sources.calibration_watch import CalibrationWatch
from service.state.baselines import BaselineRevision
from service.state.drift_samples import StoredDriftSamples
from service.state.keyed import KeyedValues


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Prepared:
    """A detector for one baseline."""

    key: str
    model: str
    version: str
    reference: Reference | None
    detector: DriftDetector | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftSight:
    """What one tick said about one model, for the gauges."""

    report: DriftReport
    version: str
    log_evidence: Mapping[str, float]
    """By channel."""


class DriftWatch:
    """The detectors of one scope."""

    def __init__(
        self,
        *,
        values: KeyedValues,
        samples: StoredDriftSamples,
        scope: str,
        source: Source,
        baselines: ActiveBaselines,
        materiality: float,
        thresholds: DriftThresholds,
        calibration: CalibrationWatch | None = None,
    ) -> None:
        self._values = values
        self._samples = samples
        self._scope = scope
        self._source = source
        self._baselines = baselines
        self._materiality = materiality
        self._thresholds = thresholds
        self._calibration = calibration
        self._prepared: dict[str, _Prepared] = {}

    def advance(self, now: Snapshot) -> list[DriftSight]:
        """Fold what happened since the last tick into every model's state."""
        tick = int(now.at // TICK_SECONDS * TICK_SECONDS)
        sights = []
        for revision in self._baselines.all():
            sight = self._advance(revision, now)
            if sight is not None:
                sample = DriftSample.of(sight.report, at=now.at, model_version=sight.version)
                self._samples.append(tick, revision.baseline.model_name, sample)
                sights.append(sight)
        return sights

    def sights(self) -> list[DriftSight]:
        """What the last tick said about every model, whoever folded it."""
        active = self._baselines.all()
        now = self._source.snapshot()
        found = []
        for revision in active:
            prepared = self._for(revision)
            state = self._load(prepared)
            if prepared.detector is not None and state is not None:
                channels = prepared.detector.log_evidence_by_channel(state)
                found.append(_sight(self._report(prepared, state, now), prepared.version, channels))
        return found

    def samples(self, model: str, seconds: float) -> Sequence[DriftSample]:
        """What was said of a model at each tick of the last ``seconds``, oldest first."""
        now = self._source.snapshot().at
        return self._samples.between(model, now - seconds, now)

    def report(self, model: str) -> DriftReport:
        """Describe the drift of a model as of its last tick.

        Raises:
            KeyError: The model is not served.
        """
        # In this order: what is served has its series before it is served.
        prepared = self._for(self._baselines.of(model))
        return self._report(prepared, self._load(prepared), self._source.snapshot())

    def reports(self, now: Snapshot) -> Mapping[str, DriftReport]:
        """Describe the drift of every model that is served, as of its last tick."""
        prepared = [self._for(revision) for revision in self._baselines.all()]
        return {one.model: self._report(one, self._load(one), now) for one in prepared}

    def _advance(self, revision: BaselineRevision, now: Snapshot) -> DriftSight | None:
        prepared = self._for(revision)
        if prepared.detector is None:
            return None
        state = self._load(prepared) or prepared.detector.start()
        seconds = TICK_SECONDS if state.time is None else now.at - state.time
        window = self._source.window(seconds, until=now)
        counts = counts_of_version(window.increases, prepared.model, prepared.version)
        if counts is None or not len(counts.predictions.bounds):
            return None
        state, _ = prepared.detector.advance(state, Ticks.of(counts, end=now.at))
        self._values.save(self._scope, _name(prepared.model), state.to_json().encode())
        channels = prepared.detector.log_evidence_by_channel(state)
        return _sight(self._report(prepared, state, now), prepared.version, channels)

    def _report(self, prepared: _Prepared, state: DriftState | None, now: Snapshot) -> DriftReport:
        window = self._source.window(self._thresholds.window_seconds, until=now)
        counts = counts_of_version(window.increases, prepared.model, prepared.version)
        return report(
            prepared.model,
            prepared.reference,
            state,
            # A version that has just been released may have no series in the snapshot yet.
            counts=counts or ModelCounts.none(),
            window=window,
            thresholds=self._thresholds,
            calibration=None
            if self._calibration is None
            else self._calibration.report(ModelVersion(prepared.model, prepared.version)),
        )

    def _load(self, prepared: _Prepared) -> DriftState | None:
        state = self._values.read(self._scope, _name(prepared.model), DriftState.from_json)
        return state if state is not None and state.key == prepared.key else None

    def _for(self, revision: BaselineRevision) -> _Prepared:
        baseline = revision.baseline
        key = "/".join(
            (
                baseline.model_version,
                str(revision.revision),
                baseline.created_at.isoformat(),
                str(self._materiality),
            )
        )
        known = self._prepared.get(baseline.model_name)
        if known is None or known.key != key:
            known = self._prepare(key, baseline)
            self._prepared[baseline.model_name] = known
        return known

    def _prepare(self, key: str, baseline: Baseline) -> _Prepared:
        reference: Reference | None
        try:
            reference = Reference.of(_fitting(baseline), materiality=self._materiality)
        except ValueError:
            reference = None
        return _Prepared(
            key=key,
            model=baseline.model_name,
            version=baseline.model_version,
            reference=reference,
            detector=None
            if reference is None
            else DriftDetector(reference, key=key, thresholds=self._thresholds),
        )


def _sight(report: DriftReport, version: str, channels: Mapping[str, float]) -> DriftSight:
    of_clicks = {} if report.calibration is None else report.calibration.log_evidence_by_channel
    return DriftSight(report=report, version=version, log_evidence={**channels, **of_clicks})


def _fitting(baseline: Baseline) -> Baseline:
    """Fall back on moments where the buckets were others when the baseline was taken."""
    predictions, latency = baseline.predictions, baseline.latency
    if predictions is not None and not np.array_equal(predictions.bounds, PREDICTION_BOUNDS):
        baseline = replace(baseline, predictions=None, prediction_wander=None)
    if latency is not None and not np.array_equal(latency.bounds, LATENCY_BOUNDS):
        baseline = replace(baseline, latency=None, latency_wander=None)
    return baseline


def _name(model: str) -> str:
    return f"drift:{model}"
