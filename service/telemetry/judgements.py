"""What was concluded from the counters, shown to Prometheus and never read back as input."""

from collections.abc import Collection, Mapping

from service.monitoring import catalogue
from service.monitoring.baseline import Baseline
from service.monitoring.bridge_status import BridgeStatus
from service.monitoring.drift.budget import LOG_THRESHOLD
from service.monitoring.drift.kind import DriftKind
from service.monitoring.experiment.comparison import Verdict
from service.monitoring.experiment.report import ExperimentReport
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

    def show_experiment(self, report: ExperimentReport) -> None:
        """Show what an experiment says; what is not known stays absent."""
        by_model = {
            variant.arm.model_name: {
                "model": variant.arm.model_name,
                "version": variant.arm.model.version,
                "experiment": report.key,
            }
            for variant in report.variants
        }
        for variant in report.variants:
            labels = by_model[variant.arm.model_name]
            self._set_if_known(catalogue.EXPERIMENT_CTR, labels, variant.ctr)
        for one in report.comparisons:
            labels = by_model[one.challenger]
            low, high = one.interval or (None, None)
            for metric, value in (
                (catalogue.EXPERIMENT_DIFFERENCE, one.difference),
                (catalogue.EXPERIMENT_DIFFERENCE_LOWER, low),
                (catalogue.EXPERIMENT_DIFFERENCE_UPPER, high),
                (catalogue.EXPERIMENT_LOG_EVIDENCE, one.evidence),
            ):
                self._set_if_known(metric, labels, value)
            for verdict in Verdict:
                holds = float(one.verdict is verdict)
                self._set(catalogue.EXPERIMENT_VERDICT, {**labels, "verdict": verdict.value}, holds)
        ratio = report.sample_ratio
        if ratio is not None:
            labels = {"experiment": report.key}
            self._set(catalogue.EXPERIMENT_MISMATCH, labels, float(ratio.mismatch))
            self._set_if_known(catalogue.EXPERIMENT_MISMATCH_LOG_EVIDENCE, labels, ratio.evidence)

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

    def _set_if_known(
        self, metric: catalogue.Metric, labels: Mapping[str, str], value: float | None
    ) -> None:
        if value is not None:
            self._set(metric, labels, value)

    def _set(self, metric: catalogue.Metric, labels: Mapping[str, str], value: float) -> None:
        identity = (metric.name, tuple(labels.values()))
        if identity not in self._series:
            self._series[identity] = self._files.series(metric, labels)
        self._series[identity].set(value)
