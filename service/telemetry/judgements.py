"""What was concluded from the counters, shown to Prometheus and never read back as input."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from prometheus_client.utils import floatToGoString

from service.monitoring import catalogue
from service.monitoring.baseline import Baseline
from service.monitoring.bridge_status import BridgeStatus
from service.monitoring.buckets import PREDICTION_BOUNDS
from service.monitoring.counts import ModelVersion
from service.monitoring.drift.budget import LOG_THRESHOLD
from service.monitoring.drift.kind import DriftKind
from service.monitoring.experiment.report import ExperimentReport
from service.monitoring.feature_drift import budget as feature_budget
from service.monitoring.feature_drift.report import FeatureDrift
from service.monitoring.health import HealthLevel, HealthStatus
from service.monitoring.interval import Interval
from service.monitoring.quality.measures import Estimate, Measure, Quality, QualityStatus
from service.telemetry.experiment_gauges import GaugeValue, gauges_of
from service.telemetry.series import ABSENT, Series, WorkerFiles

_QUALITY = {
    Measure.CTR: catalogue.QUALITY_CTR,
    Measure.CALIBRATION_RATIO: catalogue.QUALITY_CALIBRATION,
    Measure.LOG_LOSS: catalogue.QUALITY_LOG_LOSS,
    Measure.NORMALIZED_ENTROPY: catalogue.QUALITY_NORMALIZED_ENTROPY,
    Measure.AUC: catalogue.QUALITY_AUC,
}

_UNKNOWN = Estimate(ABSENT, Interval(ABSENT, ABSENT))


class JudgementGauges:
    """Gauges of which the value that any worker wrote last counts."""

    def __init__(self, files: WorkerFiles) -> None:
        self._files = files
        self._series: dict[tuple[str, tuple[str, ...]], Series] = {}
        self._experiment: Mapping[tuple[str, tuple[str, ...]], GaugeValue] = {}

    def show_health(self, model: str, status: HealthStatus) -> None:
        """Show the status of a model."""
        level = HealthLevel[status.name]
        self._set(catalogue.HEALTH_STATUS, {"model": model}, float(level))

    def show_baseline(self, baseline: Baseline) -> None:
        """Show the numbers of the active baseline; those that it lacks stay absent."""
        labels = {"model": baseline.model_name, "version": baseline.model_version}
        for metric, value in (
            (catalogue.BASELINE_PREDICTION_MEAN, baseline.mean_prediction),
            (catalogue.BASELINE_PREDICTION_STD, baseline.std_prediction),
            (catalogue.BASELINE_LATENCY_MEAN, baseline.mean_latency_seconds),
            (catalogue.BASELINE_LATENCY_STD, baseline.std_latency_seconds),
        ):
            if value is not None:
                self._set(metric, labels, value)

    def show_drift(
        self,
        model: str,
        version: str,
        *,
        log_evidence: Mapping[str, float],
        standing: Collection[DriftKind],
    ) -> None:
        """Show the evidence of every channel and which kinds of drift stand."""
        labels = {"model": model, "version": version}
        for channel, value in log_evidence.items():
            self._set(catalogue.DRIFT_LOG_EVIDENCE, {**labels, "channel": channel}, value)
        for kind in DriftKind:
            active = float(kind in standing)
            self._set(catalogue.DRIFT_ACTIVE, {**labels, "type": kind.value}, active)
        self._set(catalogue.DRIFT_LOG_EVIDENCE_THRESHOLD, {}, LOG_THRESHOLD)

    def show_quality(self, model: ModelVersion, quality: Quality) -> None:
        """Show the quality of a model version; what is not known, or no more, is absent."""
        labels = {"model": model.model, "version": model.version}
        for metric, more, value in _gauges_of(quality):
            self._set(metric, {**labels, **more}, value)

    def show_features(self, model: str, version: str, features: Sequence[FeatureDrift]) -> None:
        """Show how far each feature has moved; what is not known stays absent or as it was."""
        for found in features:
            labels = {"model": model, "version": version, "feature": found.feature}
            for metric, value in (
                (catalogue.FEATURE_DRIFT_LOG_EVIDENCE, found.log_evidence),
                (catalogue.FEATURE_PSI, found.psi),
                (catalogue.FEATURE_UNSEEN, found.unseen_rate),
                (catalogue.BASELINE_FEATURE_UNSEEN, found.baseline_unseen_rate),
            ):
                if value is not None:
                    self._set(metric, labels, value)
            if found.log_evidence is not None:
                self._set(catalogue.FEATURE_DRIFT_ACTIVE, labels, float(found.drift_detected))
        if features:
            self._set(
                catalogue.FEATURE_DRIFT_LOG_EVIDENCE_THRESHOLD, {}, feature_budget.LOG_THRESHOLD
            )

    def show_experiment(self, report: ExperimentReport) -> None:
        """Show what an experiment says; what is not known, or of an experiment before, is absent.

        A mismatch of an experiment that is over would else be alerted on until the service stops.
        """
        shown = {gauge.identity: gauge for gauge in gauges_of(report)}
        for identity, gauge in self._experiment.items():
            if identity not in shown:
                self._set(gauge.metric, gauge.labels, ABSENT)
        for gauge in shown.values():
            self._set(gauge.metric, gauge.labels, gauge.value)
        self._experiment = shown

    def show_snapshot_stored(self, at: float) -> None:
        """Show when the history was last written, in Unix seconds."""
        self._set(catalogue.SNAPSHOT_STORED, {}, at)

    def show_bridge(self, status: BridgeStatus) -> None:
        """Show how the writing of the history goes; what is not known stays absent."""
        for metric, value in (
            (catalogue.BRIDGE_STATUS, status.at),
            (catalogue.BRIDGE_LAST_SUCCESS, status.last_success),
            (catalogue.BRIDGE_LAG, status.lag_seconds),
            (catalogue.BRIDGE_WAITING, status.waiting_points),
            (catalogue.BRIDGE_REFUSED, status.refused_entries),
            (catalogue.BRIDGE_DROPPED, status.dropped_sample_points),
            (catalogue.BRIDGE_COMPLETENESS, status.completeness),
        ):
            if value is not None:
                self._set(metric, {}, float(value))
        for reason, count in status.failures.items():
            self._set(catalogue.BRIDGE_FAILURES, {"reason": reason}, float(count))

    def flush(self) -> None:
        """Make what was shown visible to all workers."""
        self._files.flush()

    def _set(self, metric: catalogue.Metric, labels: Mapping[str, str], value: float) -> None:
        identity = (metric.name, tuple(labels.values()))
        if identity in self._series:
            self._series[identity].set(value)
        else:
            self._series[identity] = self._files.series(metric, labels, value=value)


def _gauges_of(quality: Quality) -> Iterator[tuple[catalogue.Metric, Mapping[str, str], float]]:
    """List gauges with their labels besides model and version, and their values.

    All of them, also those that are absent: another worker may have shown a value before.
    """
    yield catalogue.QUALITY_PREDICTIONS, {}, float(quality.predictions)
    yield catalogue.QUALITY_CLICKS, {}, float(quality.clicks)
    yield catalogue.QUALITY_WINDOW_END, {}, quality.window_end
    settled = quality.status is QualityStatus.OK
    estimates = quality.estimates if settled else {}
    for measure, metric in _QUALITY.items():
        value, (low, high) = estimates.get(measure, _UNKNOWN)
        yield metric, {}, value
        yield catalogue.QUALITY_INTERVAL_LOW, {"measure": measure.value}, low
        yield catalogue.QUALITY_INTERVAL_HIGH, {"measure": measure.value}, high
    rows = {row.upper: row for row in quality.reliability} if settled else {}
    for upper in PREDICTION_BOUNDS:
        bucket = {"le": floatToGoString(upper)}
        row = rows.get(upper)
        yield catalogue.QUALITY_BUCKET_PREDICTION, bucket, row.mean_prediction if row else ABSENT
        yield catalogue.QUALITY_BUCKET_CTR, bucket, row.ctr if row else ABSENT
