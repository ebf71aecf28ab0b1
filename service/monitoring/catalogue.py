"""Every metric of the service: name, kind, labels, unit and meaning, stated once.

The writer creates its series from these entries, the reader finds them by these names, and
``docs/metrics.md`` is checked against them.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from service.monitoring.buckets import LATENCY_BOUNDS, PREDICTION_BOUNDS

MODEL_LABELS = ("model", "version")


class Merge(StrEnum):
    """How the values that several workers hold for one gauge become one."""

    LIVE_SUM = "livesum"
    """Sum over living workers."""
    LIVE_MAX = "livemax"
    """Greatest value of a living worker."""
    MIN = "min"
    MAX = "max"
    LATEST = "mostrecent"
    """The value that was set last."""


class Outcome(StrEnum):
    """How a request that reached a model ended."""

    SUCCESS = "success"
    ERROR = "error"


class ErrorType(StrEnum):
    """Why a model gave no usable score."""

    EXCEPTION = "exception"
    INJECTED_FAULT = "injected_fault"
    NON_FINITE_SCORE = "non_finite_score"


class FeedbackResult(StrEnum):
    """What became of one event of a feedback batch."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    """The click of this prediction is counted already."""
    EXPIRED = "expired"
    """The attribution window of its prediction is over."""
    INVALID = "invalid"
    """The id was not made with our key, or the click is older than its prediction."""
    UNKNOWN = "unknown"
    """The id is ours, but the model is not served here."""


class Rejection(StrEnum):
    """Why a request was refused before it reached a model."""

    INVALID_BODY = "invalid_body"
    MALFORMED_JSON = "malformed_json"
    BODY_TOO_LARGE = "body_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    UNKNOWN_MODEL = "unknown_model"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric family."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    unit: str
    meaning: str
    """The HELP text."""
    bounds: tuple[float, ...] = ()
    """Finite upper bounds of a histogram."""
    merge: Merge | None = None
    """For gauges that workers write; counters and histograms add."""


REQUESTS = Metric(
    name="ctr_requests_total",
    kind="counter",
    labels=(*MODEL_LABELS, "outcome"),
    unit="requests",
    meaning="HTTP calls that reached the model, by outcome; a batch is one request.",
)
REQUEST_ERRORS = Metric(
    name="ctr_request_errors_total",
    kind="counter",
    labels=(*MODEL_LABELS, "error_type"),
    unit="requests",
    meaning="Requests that the model failed, by type of error.",
)
REQUEST_DURATION = Metric(
    name="ctr_request_duration_seconds",
    kind="histogram",
    labels=MODEL_LABELS,
    unit="seconds",
    meaning="Time from the arrival of the body to the finished answer, errors included.",
    bounds=LATENCY_BOUNDS,
)
REQUEST_DURATION_SQUARED = Metric(
    name="ctr_request_duration_seconds_squared_total",
    kind="counter",
    labels=MODEL_LABELS,
    unit="seconds squared",
    meaning="Sum of squared request durations, for an exact standard deviation.",
)
REQUEST_DURATION_MIN = Metric(
    name="ctr_request_duration_seconds_min",
    kind="gauge",
    labels=MODEL_LABELS,
    unit="seconds",
    meaning="Shortest request since the counters began; absent until there is one.",
    merge=Merge.MIN,
)
REQUEST_DURATION_MAX = Metric(
    name="ctr_request_duration_seconds_max",
    kind="gauge",
    labels=MODEL_LABELS,
    unit="seconds",
    meaning="Longest request since the counters began; absent until there is one.",
    merge=Merge.MAX,
)
REQUESTS_IN_PROGRESS = Metric(
    name="ctr_requests_in_progress",
    kind="gauge",
    labels=MODEL_LABELS,
    unit="requests",
    meaning="Requests that a living worker is answering now.",
    merge=Merge.LIVE_SUM,
)
PREDICTION = Metric(
    name="ctr_prediction_ratio",
    kind="histogram",
    labels=MODEL_LABELS,
    unit="ratio",
    meaning="Predicted click-through rate.",
    bounds=PREDICTION_BOUNDS,
)
PREDICTION_SQUARED = Metric(
    name="ctr_prediction_ratio_squared_total",
    kind="counter",
    labels=MODEL_LABELS,
    unit="ratio squared",
    meaning="Sum of squared predictions, for an exact standard deviation.",
)
PREDICTION_LAST = Metric(
    name="ctr_prediction_ratio_last",
    kind="gauge",
    labels=MODEL_LABELS,
    unit="ratio",
    meaning="The most recent prediction; absent until there is one.",
    merge=Merge.LATEST,
)
PREDICTION_NEGATIVE_LOG_COMPLEMENT = Metric(
    name="ctr_prediction_negative_log_complement_total",
    kind="counter",
    labels=MODEL_LABELS,
    unit="nats",
    meaning="Sum of -ln(1 - p) over predictions: their log loss if none is clicked.",
)
ASSIGNED_PREDICTIONS = Metric(
    name="ctr_assigned_predictions_total",
    kind="counter",
    labels=(*MODEL_LABELS, "experiment", "cell"),
    unit="predictions",
    meaning="Predictions for users whom the experiment gave the model, by cell of users.",
)
FEATURE_VALUES = Metric(
    name="ctr_feature_values_total",
    kind="counter",
    labels=(*MODEL_LABELS, "feature", "value"),
    unit="predictions",
    meaning="Predictions by value of each bounded feature.",
)
MODEL_INFO = Metric(
    name="ctr_model_info",
    kind="gauge",
    labels=(*MODEL_LABELS, "model_kind"),
    unit="constant 1",
    meaning="A model version that is being served.",
    merge=Merge.LIVE_MAX,
)
CLICKS = Metric(
    name="ctr_clicks_total",
    kind="counter",
    labels=MODEL_LABELS,
    unit="clicks",
    meaning="Clicks on predictions of the model, by time of arrival.",
)
CLICKED_PREDICTION = Metric(
    name="ctr_clicked_prediction_ratio",
    kind="histogram",
    labels=MODEL_LABELS,
    unit="ratio",
    meaning="Predicted click-through rate of predictions that were clicked, by arrival.",
    bounds=PREDICTION_BOUNDS,
)
CLICKED_NEGATIVE_LOG = Metric(
    name="ctr_clicked_negative_log_total",
    kind="counter",
    labels=MODEL_LABELS,
    unit="nats",
    meaning="Sum of -ln(p) over predictions that were clicked, by arrival.",
)
CLICKED_NEGATIVE_LOG_COMPLEMENT = Metric(
    name="ctr_clicked_negative_log_complement_total",
    kind="counter",
    labels=MODEL_LABELS,
    unit="nats",
    meaning="Sum of -ln(1 - p) over predictions that were clicked, by arrival.",
)
FEEDBACK_EVENTS = Metric(
    name="ctr_feedback_events_total",
    kind="counter",
    labels=("result",),
    unit="events",
    meaning="Events of feedback, by what became of them.",
)
SHADOW_PREDICTIONS = Metric(
    name="ctr_shadow_predictions_total",
    kind="counter",
    labels=(*MODEL_LABELS, "outcome"),
    unit="predictions",
    meaning="Ad requests that the model scored without answering them, by outcome.",
)
SHADOW_PREDICTION = Metric(
    name="ctr_shadow_prediction_ratio",
    kind="histogram",
    labels=MODEL_LABELS,
    unit="ratio",
    meaning="Click-through rate that the model would have answered.",
    bounds=PREDICTION_BOUNDS,
)
SHADOW_PREDICTION_SQUARED = Metric(
    name="ctr_shadow_prediction_ratio_squared_total",
    kind="counter",
    labels=MODEL_LABELS,
    unit="ratio squared",
    meaning="Sum of squared shadow predictions, for an exact standard deviation.",
)
SHADOW_ANSWERED = Metric(
    name="ctr_shadow_answered_ratio_total",
    kind="counter",
    labels=MODEL_LABELS,
    unit="ratio",
    meaning="Sum of what others answered to the ad requests that the model scored in the shadow.",
)
SHADOW_DIFFERENCE_SQUARED = Metric(
    name="ctr_shadow_difference_ratio_squared_total",
    kind="counter",
    labels=MODEL_LABELS,
    unit="ratio squared",
    meaning="Sum of squared differences between shadow prediction and answer.",
)
REJECTED_REQUESTS = Metric(
    name="ctr_rejected_requests_total",
    kind="counter",
    labels=("reason",),
    unit="requests",
    meaning="Requests refused as the client's error; no model is at fault.",
)
HEALTH_STATUS = Metric(
    name="ctr_health_status",
    kind="gauge",
    labels=("model",),
    unit="0 healthy, 1 warning, 2 degraded",
    meaning="Health of the model at the last tick.",
    merge=Merge.LATEST,
)
BASELINE_PREDICTION_MEAN = Metric(
    name="ctr_baseline_prediction_mean_ratio",
    kind="gauge",
    labels=MODEL_LABELS,
    unit="ratio",
    meaning="Mean prediction of the active baseline.",
    merge=Merge.LATEST,
)
BASELINE_PREDICTION_STD = Metric(
    name="ctr_baseline_prediction_std_ratio",
    kind="gauge",
    labels=MODEL_LABELS,
    unit="ratio",
    meaning="Standard deviation of the predictions of the active baseline.",
    merge=Merge.LATEST,
)
BASELINE_LATENCY_MEAN = Metric(
    name="ctr_baseline_latency_mean_seconds",
    kind="gauge",
    labels=MODEL_LABELS,
    unit="seconds",
    meaning="Mean request duration of the active baseline; absent where it has none.",
    merge=Merge.LATEST,
)
BASELINE_LATENCY_STD = Metric(
    name="ctr_baseline_latency_std_seconds",
    kind="gauge",
    labels=MODEL_LABELS,
    unit="seconds",
    meaning="Standard deviation of durations of the active baseline; absent where it has none.",
    merge=Merge.LATEST,
)
DRIFT_LOG_EVIDENCE = Metric(
    name="ctr_drift_log_evidence",
    kind="gauge",
    labels=(*MODEL_LABELS, "channel"),
    unit="nats",
    meaning="Logarithm of the evidence that the channel has changed.",
    merge=Merge.LATEST,
)
DRIFT_LOG_EVIDENCE_THRESHOLD = Metric(
    name="ctr_drift_log_evidence_threshold",
    kind="gauge",
    labels=(),
    unit="nats",
    meaning="Evidence, summed over the channels of a quantity, that raises an alarm.",
    merge=Merge.LATEST,
)
DRIFT_ACTIVE = Metric(
    name="ctr_drift_active",
    kind="gauge",
    labels=(*MODEL_LABELS, "type"),
    unit="0 or 1",
    meaning="Whether drift of the type stands.",
    merge=Merge.LATEST,
)
QUALITY_PREDICTIONS = Metric(
    name="ctr_quality_predictions",
    kind="gauge",
    labels=MODEL_LABELS,
    unit="predictions",
    meaning="Predictions that quality is judged on: a day of those whose clicks have all come.",
    merge=Merge.LATEST,
)
QUALITY_CLICKS = Metric(
    name="ctr_quality_clicks",
    kind="gauge",
    labels=MODEL_LABELS,
    unit="clicks",
    meaning="Clicks on the predictions that quality is judged on.",
    merge=Merge.LATEST,
)
QUALITY_WINDOW_END = Metric(
    name="ctr_quality_window_end_timestamp_seconds",
    kind="gauge",
    labels=MODEL_LABELS,
    unit="Unix seconds",
    meaning="End of the predictions that quality is judged on: an attribution window ago.",
    merge=Merge.LATEST,
)
QUALITY_CTR = Metric(
    name="ctr_quality_ctr_ratio",
    kind="gauge",
    labels=MODEL_LABELS,
    unit="ratio",
    meaning="Clicks by predictions; this and the following are absent while data do not suffice.",
    merge=Merge.LATEST,
)
QUALITY_CALIBRATION = Metric(
    name="ctr_quality_calibration_ratio",
    kind="gauge",
    labels=MODEL_LABELS,
    unit="ratio",
    meaning="Sum of predictions by clicks; above 1 the model predicts too many.",
    merge=Merge.LATEST,
)
QUALITY_LOG_LOSS = Metric(
    name="ctr_quality_log_loss",
    kind="gauge",
    labels=MODEL_LABELS,
    unit="nats",
    meaning="Mean of -ln(p) over clicks and -ln(1 - p) over the rest.",
    merge=Merge.LATEST,
)
QUALITY_NORMALIZED_ENTROPY = Metric(
    name="ctr_quality_normalized_entropy",
    kind="gauge",
    labels=MODEL_LABELS,
    unit="ratio",
    meaning="Log loss by that of always predicting the CTR; below 1 is better.",
    merge=Merge.LATEST,
)
QUALITY_AUC = Metric(
    name="ctr_quality_auc",
    kind="gauge",
    labels=MODEL_LABELS,
    unit="ratio",
    meaning="Probability that a click scored above a non-click, half credit within a bucket.",
    merge=Merge.LATEST,
)
QUALITY_INTERVAL_LOW = Metric(
    name="ctr_quality_interval_low",
    kind="gauge",
    labels=(*MODEL_LABELS, "measure"),
    unit="that of the measure",
    meaning="Lower end of the 95 % interval of a measure of quality.",
    merge=Merge.LATEST,
)
QUALITY_INTERVAL_HIGH = Metric(
    name="ctr_quality_interval_high",
    kind="gauge",
    labels=(*MODEL_LABELS, "measure"),
    unit="that of the measure",
    meaning="Upper end of the 95 % interval of a measure of quality.",
    merge=Merge.LATEST,
)
QUALITY_BUCKET_PREDICTION = Metric(
    name="ctr_quality_bucket_prediction_ratio",
    kind="gauge",
    labels=(*MODEL_LABELS, "le"),
    unit="ratio",
    meaning="Estimated mean prediction of a bucket of the score, for the reliability curve.",
    merge=Merge.LATEST,
)
QUALITY_BUCKET_CTR = Metric(
    name="ctr_quality_bucket_ctr_ratio",
    kind="gauge",
    labels=(*MODEL_LABELS, "le"),
    unit="ratio",
    meaning="Clicks by predictions of a bucket of the score, for the reliability curve.",
    merge=Merge.LATEST,
)
FEATURE_DRIFT_LOG_EVIDENCE = Metric(
    name="ctr_feature_drift_log_evidence",
    kind="gauge",
    labels=(*MODEL_LABELS, "feature"),
    unit="nats",
    meaning="Logarithm of the evidence that the mix of the feature's values has changed.",
    merge=Merge.LATEST,
)
FEATURE_DRIFT_LOG_EVIDENCE_THRESHOLD = Metric(
    name="ctr_feature_drift_log_evidence_threshold",
    kind="gauge",
    labels=(),
    unit="nats",
    meaning="Evidence of a feature that raises an alarm.",
    merge=Merge.LATEST,
)
FEATURE_DRIFT_ACTIVE = Metric(
    name="ctr_feature_drift_active",
    kind="gauge",
    labels=(*MODEL_LABELS, "feature"),
    unit="0 or 1",
    meaning="Whether drift of the feature stands.",
    merge=Merge.LATEST,
)
FEATURE_PSI = Metric(
    name="ctr_feature_psi_ratio",
    kind="gauge",
    labels=(*MODEL_LABELS, "feature"),
    unit="nats",
    meaning="Population stability index over the drift window, against the same hours.",
    merge=Merge.LATEST,
)
FEATURE_UNSEEN = Metric(
    name="ctr_feature_unseen_ratio",
    kind="gauge",
    labels=(*MODEL_LABELS, "feature"),
    unit="ratio",
    meaning="Share of predictions over the drift window whose value training had not seen.",
    merge=Merge.LATEST,
)
BASELINE_FEATURE_UNSEEN = Metric(
    name="ctr_baseline_feature_unseen_ratio",
    kind="gauge",
    labels=(*MODEL_LABELS, "feature"),
    unit="ratio",
    meaning="The same in the active baseline, at the same hours.",
    merge=Merge.LATEST,
)
EXPERIMENT_LABELS = (*MODEL_LABELS, "experiment")
EXPERIMENT_CTR = Metric(
    name="ctr_experiment_click_through_ratio",
    kind="gauge",
    labels=EXPERIMENT_LABELS,
    unit="ratio",
    meaning="Clicks per prediction of a variant of the A/B test; absent until it has one.",
    merge=Merge.LATEST,
)
EXPERIMENT_DIFFERENCE = Metric(
    name="ctr_experiment_difference_ratio",
    kind="gauge",
    labels=EXPERIMENT_LABELS,
    unit="ratio",
    meaning="Click-through rate of a challenger less that of the baseline.",
    merge=Merge.LATEST,
)
EXPERIMENT_DIFFERENCE_LOWER = Metric(
    name="ctr_experiment_difference_lower_ratio",
    kind="gauge",
    labels=EXPERIMENT_LABELS,
    unit="ratio",
    meaning="Least difference that has not been rejected; holds however often it is looked at.",
    merge=Merge.LATEST,
)
EXPERIMENT_DIFFERENCE_UPPER = Metric(
    name="ctr_experiment_difference_upper_ratio",
    kind="gauge",
    labels=EXPERIMENT_LABELS,
    unit="ratio",
    meaning="Greatest difference that has not been rejected.",
    merge=Merge.LATEST,
)
EXPERIMENT_LOG_EVIDENCE = Metric(
    name="ctr_experiment_log_evidence",
    kind="gauge",
    labels=EXPERIMENT_LABELS,
    unit="nats",
    meaning="Logarithm of the evidence that a challenger differs from the baseline.",
    merge=Merge.LATEST,
)
EXPERIMENT_VERDICT = Metric(
    name="ctr_experiment_verdict",
    kind="gauge",
    labels=(*EXPERIMENT_LABELS, "verdict"),
    unit="0 or 1",
    meaning="Whether this is the verdict on a challenger.",
    merge=Merge.LATEST,
)
EXPERIMENT_MISMATCH = Metric(
    name="ctr_experiment_sample_ratio_mismatch",
    kind="gauge",
    labels=("experiment",),
    unit="0 or 1",
    meaning="Whether the variants do not get the users that their weights promise.",
    merge=Merge.LATEST,
)
EXPERIMENT_MISMATCH_LOG_EVIDENCE = Metric(
    name="ctr_experiment_sample_ratio_log_evidence",
    kind="gauge",
    labels=("experiment",),
    unit="nats",
    meaning="Logarithm of the evidence that they do not.",
    merge=Merge.LATEST,
)
SNAPSHOT_STORED = Metric(
    name="ctr_snapshot_stored_timestamp_seconds",
    kind="gauge",
    labels=(),
    unit="Unix seconds",
    meaning="When the newest snapshot of the history was taken; stands still when nobody does it.",
    merge=Merge.LATEST,
)
BRIDGE_STATUS = Metric(
    name="ctr_bridge_status_timestamp_seconds",
    kind="gauge",
    labels=(),
    unit="Unix seconds",
    meaning="When the bridge to MLflow last said how it is; stands still when it does not run.",
    merge=Merge.LATEST,
)
BRIDGE_LAST_SUCCESS = Metric(
    name="ctr_bridge_last_success_timestamp_seconds",
    kind="gauge",
    labels=(),
    unit="Unix seconds",
    meaning="When MLflow last took what it was told, or nothing was left to tell.",
    merge=Merge.LATEST,
)
BRIDGE_LAG = Metric(
    name="ctr_bridge_lag_seconds",
    kind="gauge",
    labels=(),
    unit="seconds",
    meaning="Age of the oldest window that is over and not in MLflow.",
    merge=Merge.LATEST,
)
BRIDGE_WAITING = Metric(
    name="ctr_bridge_outbox_points",
    kind="gauge",
    labels=(),
    unit="points",
    meaning="Values that wait to be written to MLflow.",
    merge=Merge.LATEST,
)
BRIDGE_REFUSED = Metric(
    name="ctr_bridge_refused_entries",
    kind="gauge",
    labels=(),
    unit="entries",
    meaning="Entries of which MLflow refuses a part for good; they hold up no other.",
    merge=Merge.LATEST,
)
BRIDGE_DROPPED = Metric(
    name="ctr_bridge_dropped_sample_points",
    kind="gauge",
    labels=(),
    unit="points",
    meaning="Individual predictions given up since the bridge began, because too much waited.",
    merge=Merge.LATEST,
)
BRIDGE_COMPLETENESS = Metric(
    name="ctr_bridge_completeness_ratio",
    kind="gauge",
    labels=(),
    unit="ratio",
    meaning="Share of the last closed day's windows that were written; the least of any model.",
    merge=Merge.LATEST,
)
BRIDGE_FAILURES = Metric(
    name="ctr_bridge_failures",
    kind="gauge",
    labels=("reason",),
    unit="calls",
    meaning="Calls to MLflow that failed since the bridge began, by reason.",
    merge=Merge.LATEST,
)
COUNTERS_BEGAN = Metric(
    name="ctr_counters_began_timestamp_seconds",
    kind="gauge",
    labels=(),
    unit="Unix seconds",
    meaning="When the counters of this epoch began at zero.",
)
UNREADABLE_FILES = Metric(
    name="ctr_metrics_unreadable_files",
    kind="gauge",
    labels=(),
    unit="files",
    meaning="Metrics files of workers that could not be read and were left out.",
)

CATALOGUE: tuple[Metric, ...] = (
    REQUESTS,
    REQUEST_ERRORS,
    REQUEST_DURATION,
    REQUEST_DURATION_SQUARED,
    REQUEST_DURATION_MIN,
    REQUEST_DURATION_MAX,
    REQUESTS_IN_PROGRESS,
    PREDICTION,
    PREDICTION_SQUARED,
    PREDICTION_LAST,
    PREDICTION_NEGATIVE_LOG_COMPLEMENT,
    ASSIGNED_PREDICTIONS,
    FEATURE_VALUES,
    MODEL_INFO,
    CLICKS,
    CLICKED_PREDICTION,
    CLICKED_NEGATIVE_LOG,
    CLICKED_NEGATIVE_LOG_COMPLEMENT,
    FEEDBACK_EVENTS,
    SHADOW_PREDICTIONS,
    SHADOW_PREDICTION,
    SHADOW_PREDICTION_SQUARED,
    SHADOW_ANSWERED,
    SHADOW_DIFFERENCE_SQUARED,
    REJECTED_REQUESTS,
    HEALTH_STATUS,
    BASELINE_PREDICTION_MEAN,
    BASELINE_PREDICTION_STD,
    BASELINE_LATENCY_MEAN,
    BASELINE_LATENCY_STD,
    DRIFT_LOG_EVIDENCE,
    DRIFT_LOG_EVIDENCE_THRESHOLD,
    DRIFT_ACTIVE,
    QUALITY_PREDICTIONS,
    QUALITY_CLICKS,
    QUALITY_WINDOW_END,
    QUALITY_CTR,
    QUALITY_CALIBRATION,
    QUALITY_LOG_LOSS,
    QUALITY_NORMALIZED_ENTROPY,
    QUALITY_AUC,
    QUALITY_INTERVAL_LOW,
    QUALITY_INTERVAL_HIGH,
    QUALITY_BUCKET_PREDICTION,
    QUALITY_BUCKET_CTR,
    FEATURE_DRIFT_LOG_EVIDENCE,
    FEATURE_DRIFT_LOG_EVIDENCE_THRESHOLD,
    FEATURE_DRIFT_ACTIVE,
    FEATURE_PSI,
    FEATURE_UNSEEN,
    BASELINE_FEATURE_UNSEEN,
    EXPERIMENT_CTR,
    EXPERIMENT_DIFFERENCE,
    EXPERIMENT_DIFFERENCE_LOWER,
    EXPERIMENT_DIFFERENCE_UPPER,
    EXPERIMENT_LOG_EVIDENCE,
    EXPERIMENT_VERDICT,
    EXPERIMENT_MISMATCH,
    EXPERIMENT_MISMATCH_LOG_EVIDENCE,
    SNAPSHOT_STORED,
    BRIDGE_STATUS,
    BRIDGE_LAST_SUCCESS,
    BRIDGE_LAG,
    BRIDGE_WAITING,
    BRIDGE_REFUSED,
    BRIDGE_DROPPED,
    BRIDGE_COMPLETENESS,
    BRIDGE_FAILURES,
    COUNTERS_BEGAN,
    UNREADABLE_FILES,
)
