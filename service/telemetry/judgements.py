"""What was concluded from the counters, shown to Prometheus and never read back as input."""

from collections.abc import Collection, Mapping, Sequence

from service.monitoring import catalogue
from service.monitoring.baseline import Baseline
from service.monitoring.bridge_status import BridgeStatus
from service.monitoring.drift.budget import LOG_THRESHOLD
from service.monitoring.drift.kind import DriftKind
from service.monitoring.feature_drift import budget as feature_budget
from service.monitoring.feature_drift.report import FeatureDrift
from service.monitoring.health import HealthLevel, HealthStatus
from service.telemetry.series import Series, WorkerFiles


class JudgementGauges:
    """Gauges of which the value that any worker wrote last counts."""

    def __init__(self, files: WorkerFiles) -> None:
        self._files = files
        self._series: dict[tuple[str, tuple[str, ...]], Series] = {}

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
        if identity not in self._series:
            self._series[identity] = self._files.series(metric, labels)
        self._series[identity].set(value)
