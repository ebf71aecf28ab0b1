"""Alerts on one model, on the bridge to MLflow, and on monitoring itself."""

from collections.abc import Sequence

from deploy.alerting.durations import duration, number
from deploy.alerting.pace import Pace
from deploy.alerting.rules import Alert, Group, Record, Severity
from deploy.alerting.selectors import JOB, named, series
from service.monitoring import catalogue
from service.monitoring.drift.kind import DriftKind
from service.monitoring.experiment.report import MISMATCH_LEVEL
from service.monitoring.health import HealthLevel
from service.monitoring.objectives import (
    AVERAGE_LATENCY,
    BRIDGE_LATE,
    BRIDGE_REFUSED,
    BRIDGE_SILENT,
    CALIBRATION,
    DRIFT_EVIDENCE,
    ERROR_RATE,
    EVALUATION_STOPPED,
    HEALTH_WINDOW,
    UNREADABLE_FILES,
)

_MINUTE = 60
_EVIDENCE = "job_model_version_quantity:ctr_drift_log_evidence:logsumexp"
_FROM_BASELINE = (
    f'{catalogue.DRIFT_ACTIVE.name}{{job="{JOB}", type!="{DriftKind.CALIBRATION_SHIFT.value}"}}'
)
"""Drift of what is held against the baseline; calibration has an alert of its own."""


def model_group(pace: Pace) -> Group:
    """Health and drift of each model."""
    return Group(
        name="ctr_models",
        rules=[
            _evidence("predictions", '!~"(latency|calibration)_.*"'),
            _evidence("latency", '=~"latency_.*"'),
            Alert(
                name="CtrModelDegraded",
                severity=Severity.PAGE,
                hold_seconds=pace.hold(_MINUTE),
                expr=(
                    f"max by (job, model) ({series(catalogue.HEALTH_STATUS)})"
                    f" >= {HealthLevel.DEGRADED.value}"
                ),
                summary="{{ $labels.model }} is degraded",
                description=(
                    "The health of {{ $labels.model }} is {{ $value }} (0 healthy, 1 warning, 2 "
                    f"degraded): over {number(HEALTH_WINDOW.limit)} s more than "
                    f"{number(ERROR_RATE.limit)} % of requests failed, or they took more than "
                    f"{number(AVERAGE_LATENCY.limit)} ms on average, unless set otherwise."
                ),
            ),
            Alert(
                name="CtrDrift",
                severity=Severity.TICKET,
                expr=f"max by (job, model, version, type) ({_FROM_BASELINE}) == 1",
                summary="{{ $labels.model }} has drifted from its baseline: {{ $labels.type }}",
                description=(
                    "Drift of the type {{ $labels.type }} stands for {{ $labels.model }}, version "
                    "{{ $labels.version }}: {{ $value }} (0 or 1). A false alarm has at most 1 % "
                    "probability in 30 days."
                ),
            ),
            Alert(
                name="CtrDriftPersists",
                severity=Severity.TICKET,
                hold_seconds=pace.hold(15 * _MINUTE),
                # Evidence alone decides nothing while there are too few predictions.
                expr=(
                    f"{_EVIDENCE} >= {number(DRIFT_EVIDENCE.limit)}\n"
                    "and on (job, model, version)\n"
                    f"max by (job, model, version) ({_FROM_BASELINE}) == 1"
                ),
                summary="{{ $labels.model }} goes on differing from its baseline",
                description=(
                    "The evidence of a change in the {{ $labels.quantity }} of "
                    "{{ $labels.model }}, version {{ $labels.version }}, has stayed at "
                    '{{ $value | printf "%.1f" }} nats; '
                    f"{DRIFT_EVIDENCE.limit:.1f} is an alarm. "
                    "The change does not pass: retrain, or take a new baseline."
                ),
            ),
            Alert(
                name="CtrFeatureDrift",
                severity=Severity.TICKET,
                expr=(
                    "max by (job, model, version, feature) "
                    f"({series(catalogue.FEATURE_DRIFT_ACTIVE)}) == 1"
                ),
                summary="What {{ $labels.model }} is asked has changed: {{ $labels.feature }}",
                description=(
                    "Drift of {{ $labels.feature }} stands for {{ $labels.model }}, version "
                    "{{ $labels.version }}: {{ $value }} (0 or 1). Its answers need not be wrong: "
                    "that is for CtrDrift to say."
                ),
            ),
        ],
    )


def _evidence(quantity: str, matching: str) -> Record:
    """Add up the channels of a quantity, as the detector does; of replicas the loudest counts."""
    channels = f'{catalogue.DRIFT_LOG_EVIDENCE.name}{{job="{JOB}", channel{matching}}}'
    return Record(
        record=_EVIDENCE,
        labels={"quantity": quantity},
        expr=(
            "max by (job, model, version) (\n"
            f"  ln(sum by (job, instance, model, version) (exp({channels})))\n"
            ")"
        ),
    )


def experiment_group() -> Group:
    """Whether the A/B test can be believed."""
    return Group(
        name="ctr_experiment",
        rules=[
            Alert(
                name="CtrSampleRatioMismatch",
                severity=Severity.TICKET,
                # It stands from one minute to the next by itself: a hold would only delay it.
                expr=(f"max by (job, experiment) ({series(catalogue.EXPERIMENT_MISMATCH)}) == 1"),
                summary="The A/B test {{ $labels.experiment }} compares different users",
                description=(
                    "The variants of {{ $labels.experiment }} do not get the users that their "
                    "weights promise: {{ $value }} (0 or 1). No verdict is given meanwhile. Of "
                    f"sound experiments at most {100 * MISMATCH_LEVEL:g} % ever say so."
                ),
            ),
        ],
    )


def calibration_group() -> Group:
    """Clicks against predictions; silent until enough clicks have come."""
    shifts = series(catalogue.DRIFT_ACTIVE, type=DriftKind.CALIBRATION_SHIFT.value)
    return Group(
        name="ctr_calibration",
        rules=[
            Alert(
                name="CtrCalibrationOff",
                severity=Severity.TICKET,
                expr=f"max by (job, model, version) ({shifts}) == 1",
                summary="{{ $labels.model }} predicts too many or too few clicks",
                description=(
                    "Clicks do not come as {{ $labels.model }}, version {{ $labels.version }}, "
                    f"predicts, by more than {number(100 * CALIBRATION.limit)} % unless set "
                    "otherwise: {{ $value }} (0 or 1). A false alarm has at most 1 % probability "
                    "in 30 days."
                ),
            ),
        ],
    )


def bridge_group(pace: Pace) -> Group:
    """The way to MLflow; silent where the bridge is switched off."""
    return Group(
        name="ctr_bridge",
        rules=[
            Alert(
                name="CtrBridgeBehind",
                severity=Severity.TICKET,
                hold_seconds=pace.hold(2 * _MINUTE),
                expr=f"{series(catalogue.BRIDGE_LAG)} > {number(BRIDGE_LATE.limit)}",
                summary="The history in MLflow is late",
                description=(
                    "The oldest window that {{ $labels.instance }} has not yet written to MLflow "
                    "was over {{ $value | humanizeDuration }} ago; more than "
                    f"{duration(int(BRIDGE_LATE.limit))} is late. Nothing is lost so far."
                ),
            ),
            Alert(
                name="CtrBridgeNotRunning",
                severity=Severity.TICKET,
                hold_seconds=pace.hold(2 * _MINUTE),
                expr=f"time() - {series(catalogue.BRIDGE_STATUS)} > {number(BRIDGE_SILENT.limit)}",
                summary="The bridge to MLflow does not run",
                description=(
                    "The bridge of {{ $labels.instance }} last gave a sign of life "
                    "{{ $value | humanizeDuration }} ago; "
                    f"{duration(int(BRIDGE_SILENT.limit))} is silence. "
                    "The history waits in the state store."
                ),
            ),
            Alert(
                name="CtrBridgeRefused",
                severity=Severity.TICKET,
                hold_seconds=pace.hold(5 * _MINUTE),
                expr=f"{series(catalogue.BRIDGE_REFUSED)} > {number(BRIDGE_REFUSED.limit)}",
                summary="MLflow refuses a part of the history for good",
                description=(
                    "MLflow refuses a part of {{ $value }} entries of {{ $labels.instance }}. "
                    "They hold up no other, but are missing in MLflow."
                ),
            ),
        ],
    )


def monitoring_group(pace: Pace) -> Group:
    """Whether the other alerts can be believed."""
    stored = series(catalogue.SNAPSHOT_STORED)
    began = series(catalogue.COUNTERS_BEGAN)
    return Group(
        name="ctr_monitoring",
        rules=[
            Alert(
                name="CtrEvaluationStopped",
                severity=Severity.PAGE,
                hold_seconds=pace.hold(_MINUTE),
                expr=f"time() - ({stored} or {began}) > {number(EVALUATION_STOPPED.limit)}",
                summary="Nobody judges the models of {{ $labels.instance }}",
                description=(
                    "{{ $labels.instance }} last stored a snapshot "
                    "{{ $value | humanizeDuration }} ago, or never since it began; "
                    f"{duration(int(EVALUATION_STOPPED.limit))} is too long. "
                    "Its health and drift stand still: the alerts on them are blind."
                ),
            ),
            Alert(
                name="CtrMetricsUnreadable",
                severity=Severity.TICKET,
                hold_seconds=pace.hold(5 * _MINUTE),
                expr=f"{series(catalogue.UNREADABLE_FILES)} > {number(UNREADABLE_FILES.limit)}",
                summary="Counts of {{ $labels.instance }} are incomplete",
                description=(
                    "{{ $value }} metrics files of {{ $labels.instance }} cannot be read. "
                    "The counts of some worker are missing everywhere."
                ),
            ),
            Alert(
                name="CtrTargetDown",
                severity=Severity.PAGE,
                hold_seconds=pace.hold(_MINUTE),
                expr=f"{named('up')} == 0",
                summary="{{ $labels.instance }} does not answer Prometheus",
                description=(
                    "The last scrapes of {{ $labels.instance }} failed: up is {{ $value }} "
                    "(1 answers, 0 does not)."
                ),
            ),
            Alert(
                name="CtrServiceGone",
                severity=Severity.PAGE,
                hold_seconds=pace.hold(2 * _MINUTE),
                expr=f"absent({series(catalogue.REQUESTS)})",
                summary="Prometheus sees no model at all",
                description=(
                    "No target of the job {{ $labels.job }} shows a count of requests: all are "
                    "down, or none is configured. No other alert can fire. (absent: {{ $value }})"
                ),
            ),
        ],
    )


def condition_groups(pace: Pace) -> Sequence[Group]:
    """Give everything that is not a burn rate."""
    return [
        model_group(pace),
        experiment_group(),
        calibration_group(),
        bridge_group(pace),
        monitoring_group(pace),
    ]
