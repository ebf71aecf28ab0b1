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
    """The id is forged or damaged, or the click is older than its prediction."""
    UNKNOWN = "unknown"
    """The text is no prediction id of this release at all."""


class Rejection(StrEnum):
    """Why a request was refused before it reached a model."""

    INVALID_BODY = "invalid_body"
    MALFORMED_JSON = "malformed_json"
    BODY_TOO_LARGE = "body_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    UNKNOWN_MODEL = "unknown_model"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    URL_TOO_LONG = "url_too_long"
    UNAUTHORIZED = "unauthorized"
    """What changes something needs the token; it is missing or wrong."""
    FORBIDDEN = "forbidden"
    """There is no token, and the request does not come from this machine's own programs."""
    OVERLOADED = "overloaded"
    """More requests at once than are answered in time."""


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


def _counter(
    name: str, unit: str, meaning: str, *, labels: tuple[str, ...] = MODEL_LABELS
) -> Metric:
    return Metric(name=name, kind="counter", labels=labels, unit=unit, meaning=meaning)


def _histogram(name: str, unit: str, meaning: str, *, bounds: tuple[float, ...]) -> Metric:
    return Metric(
        name=name, kind="histogram", labels=MODEL_LABELS, unit=unit, meaning=meaning, bounds=bounds
    )


def _gauge(
    name: str,
    unit: str,
    meaning: str,
    *,
    labels: tuple[str, ...] = MODEL_LABELS,
    merge: Merge | None = Merge.LATEST,
) -> Metric:
    return Metric(name=name, kind="gauge", labels=labels, unit=unit, meaning=meaning, merge=merge)


REQUESTS = _counter(
    "ctr_requests_total",
    "requests",
    "HTTP calls that reached the model, by outcome; a batch is one request.",
    labels=(*MODEL_LABELS, "outcome"),
)
REQUEST_ERRORS = _counter(
    "ctr_request_errors_total",
    "requests",
    "Requests that the model failed, by type of error.",
    labels=(*MODEL_LABELS, "error_type"),
)
REQUEST_DURATION = _histogram(
    "ctr_request_duration_seconds",
    "seconds",
    "Time from the arrival of the body to the finished answer, errors included.",
    bounds=LATENCY_BOUNDS,
)
REQUEST_DURATION_SQUARED = _counter(
    "ctr_request_duration_seconds_squared_total",
    "seconds squared",
    "Sum of squared request durations, for an exact standard deviation.",
)
REQUEST_DURATION_MIN = _gauge(
    "ctr_request_duration_seconds_min",
    "seconds",
    "Shortest request since the counters began; absent until there is one.",
    merge=Merge.MIN,
)
REQUEST_DURATION_MAX = _gauge(
    "ctr_request_duration_seconds_max",
    "seconds",
    "Longest request since the counters began; absent until there is one.",
    merge=Merge.MAX,
)
REQUESTS_IN_PROGRESS = _gauge(
    "ctr_requests_in_progress",
    "requests",
    "Requests that a living worker is answering now.",
    merge=Merge.LIVE_SUM,
)
PREDICTION = _histogram(
    "ctr_prediction_ratio", "ratio", "Predicted click-through rate.", bounds=PREDICTION_BOUNDS
)
PREDICTION_SQUARED = _counter(
    "ctr_prediction_ratio_squared_total",
    "ratio squared",
    "Sum of squared predictions, for an exact standard deviation.",
)
PREDICTION_LAST = _gauge(
    "ctr_prediction_ratio_last", "ratio", "The most recent prediction; absent until there is one."
)
PREDICTION_NEGATIVE_LOG_COMPLEMENT = _counter(
    "ctr_prediction_negative_log_complement_total",
    "nats",
    "Sum of -ln(1 - p) over predictions: their log loss if none is clicked.",
)
ASSIGNED_PREDICTIONS = _counter(
    "ctr_assigned_predictions_total",
    "predictions",
    "Predictions for users whom the experiment gave the model, by cell of users.",
    labels=(*MODEL_LABELS, "experiment", "cell"),
)
FEATURE_VALUES = _counter(
    "ctr_feature_values_total",
    "predictions",
    "Predictions by value of each bounded feature.",
    labels=(*MODEL_LABELS, "feature", "value"),
)
MODEL_INFO = _gauge(
    "ctr_model_info",
    "constant 1",
    "A model version that is being served.",
    labels=(*MODEL_LABELS, "model_kind"),
    merge=Merge.LIVE_MAX,
)
MODEL_EVALUATOR = _gauge(
    "ctr_model_evaluator_info",
    "constant 1",
    "What computes single predictions of a served version; xgboost is the slow one, a fallback.",
    labels=(*MODEL_LABELS, "evaluator"),
    merge=Merge.LIVE_MAX,
)
CLICKS = _counter(
    "ctr_clicks_total", "clicks", "Clicks on predictions of the model, by time of arrival."
)
CLICKED_PREDICTION = _histogram(
    "ctr_clicked_prediction_ratio",
    "ratio",
    "Predicted click-through rate of predictions that were clicked, by arrival.",
    bounds=PREDICTION_BOUNDS,
)
CLICKED_NEGATIVE_LOG = _counter(
    "ctr_clicked_negative_log_total",
    "nats",
    "Sum of -ln(p) over predictions that were clicked, by arrival.",
)
CLICKED_NEGATIVE_LOG_COMPLEMENT = _counter(
    "ctr_clicked_negative_log_complement_total",
    "nats",
    "Sum of -ln(1 - p) over predictions that were clicked, by arrival.",
)
FEEDBACK_EVENTS = _counter(
    "ctr_feedback_events_total",
    "events",
    "Events of feedback, by what became of them.",
    labels=("result",),
)
SHADOW_PREDICTIONS = _counter(
    "ctr_shadow_predictions_total",
    "predictions",
    "Ad requests that the model scored without answering them, by outcome.",
    labels=(*MODEL_LABELS, "outcome"),
)
SHADOW_PREDICTION = _histogram(
    "ctr_shadow_prediction_ratio",
    "ratio",
    "Click-through rate that the model would have answered.",
    bounds=PREDICTION_BOUNDS,
)
SHADOW_PREDICTION_SQUARED = _counter(
    "ctr_shadow_prediction_ratio_squared_total",
    "ratio squared",
    "Sum of squared shadow predictions, for an exact standard deviation.",
)
SHADOW_ANSWERED = _counter(
    "ctr_shadow_answered_ratio_total",
    "ratio",
    "Sum of what others answered to the ad requests that the model scored in the shadow.",
)
SHADOW_DIFFERENCE_SQUARED = _counter(
    "ctr_shadow_difference_ratio_squared_total",
    "ratio squared",
    "Sum of squared differences between shadow prediction and answer.",
)
REJECTED_REQUESTS = _counter(
    "ctr_rejected_requests_total",
    "requests",
    "Requests refused before a model was asked, by reason.",
    labels=("reason",),
)
HEALTH_STATUS = _gauge(
    "ctr_health_status",
    "0 healthy, 1 warning, 2 degraded",
    "Health of the model at the last tick.",
    labels=("model",),
)
BASELINE_PREDICTION_MEAN = _gauge(
    "ctr_baseline_prediction_mean_ratio", "ratio", "Mean prediction of the active baseline."
)
BASELINE_PREDICTION_STD = _gauge(
    "ctr_baseline_prediction_std_ratio",
    "ratio",
    "Standard deviation of the predictions of the active baseline.",
)
BASELINE_LATENCY_MEAN = _gauge(
    "ctr_baseline_latency_mean_seconds",
    "seconds",
    "Mean request duration of the active baseline; absent where it has none.",
)
BASELINE_LATENCY_STD = _gauge(
    "ctr_baseline_latency_std_seconds",
    "seconds",
    "Standard deviation of durations of the active baseline; absent where it has none.",
)
DRIFT_LOG_EVIDENCE = _gauge(
    "ctr_drift_log_evidence",
    "nats",
    "Logarithm of the evidence that the channel has changed.",
    labels=(*MODEL_LABELS, "channel"),
)
DRIFT_LOG_EVIDENCE_THRESHOLD = _gauge(
    "ctr_drift_log_evidence_threshold",
    "nats",
    "Evidence, summed over the channels of a quantity, that raises an alarm.",
    labels=(),
)
DRIFT_ACTIVE = _gauge(
    "ctr_drift_active",
    "0 or 1",
    "Whether drift of the type stands.",
    labels=(*MODEL_LABELS, "type"),
)
QUALITY_PREDICTIONS = _gauge(
    "ctr_quality_predictions",
    "predictions",
    "Predictions that quality is judged on: a day of those whose clicks have all come.",
)
QUALITY_CLICKS = _gauge(
    "ctr_quality_clicks", "clicks", "Clicks on the predictions that quality is judged on."
)
QUALITY_WINDOW_END = _gauge(
    "ctr_quality_window_end_timestamp_seconds",
    "Unix seconds",
    "End of the predictions that quality is judged on: an attribution window ago.",
)
QUALITY_CTR = _gauge(
    "ctr_quality_ctr_ratio",
    "ratio",
    "Clicks by predictions; this and the following are absent while data do not suffice.",
)
QUALITY_CALIBRATION = _gauge(
    "ctr_quality_calibration_ratio",
    "ratio",
    "Sum of predictions by clicks; above 1 the model predicts too many.",
)
QUALITY_LOG_LOSS = _gauge(
    "ctr_quality_log_loss", "nats", "Mean of -ln(p) over clicks and -ln(1 - p) over the rest."
)
QUALITY_NORMALIZED_ENTROPY = _gauge(
    "ctr_quality_normalized_entropy",
    "ratio",
    "Log loss by that of always predicting the CTR; below 1 is better.",
)
QUALITY_AUC = _gauge(
    "ctr_quality_auc",
    "ratio",
    "Probability that a click scored above a non-click, half credit within a bucket.",
)
QUALITY_INTERVAL_LOW = _gauge(
    "ctr_quality_interval_low",
    "that of the measure",
    "Lower end of the 95 % interval of a measure of quality.",
    labels=(*MODEL_LABELS, "measure"),
)
QUALITY_INTERVAL_HIGH = _gauge(
    "ctr_quality_interval_high",
    "that of the measure",
    "Upper end of the 95 % interval of a measure of quality.",
    labels=(*MODEL_LABELS, "measure"),
)
QUALITY_BUCKET_PREDICTION = _gauge(
    "ctr_quality_bucket_prediction_ratio",
    "ratio",
    "Estimated mean prediction of a bucket of the score, for the reliability curve.",
    labels=(*MODEL_LABELS, "le"),
)
QUALITY_BUCKET_CTR = _gauge(
    "ctr_quality_bucket_ctr_ratio",
    "ratio",
    "Clicks by predictions of a bucket of the score, for the reliability curve.",
    labels=(*MODEL_LABELS, "le"),
)
FEATURE_DRIFT_LOG_EVIDENCE = _gauge(
    "ctr_feature_drift_log_evidence",
    "nats",
    "Logarithm of the evidence that the mix of the feature's values has changed.",
    labels=(*MODEL_LABELS, "feature"),
)
FEATURE_DRIFT_LOG_EVIDENCE_THRESHOLD = _gauge(
    "ctr_feature_drift_log_evidence_threshold",
    "nats",
    "Evidence of a feature that raises an alarm.",
    labels=(),
)
FEATURE_DRIFT_ACTIVE = _gauge(
    "ctr_feature_drift_active",
    "0 or 1",
    "Whether drift of the feature stands.",
    labels=(*MODEL_LABELS, "feature"),
)
FEATURE_PSI = _gauge(
    "ctr_feature_psi_ratio",
    "nats",
    "Population stability index over the drift window, against the same hours.",
    labels=(*MODEL_LABELS, "feature"),
)
FEATURE_UNSEEN = _gauge(
    "ctr_feature_unseen_ratio",
    "ratio",
    "Share of predictions over the drift window whose value training had not seen.",
    labels=(*MODEL_LABELS, "feature"),
)
BASELINE_FEATURE_UNSEEN = _gauge(
    "ctr_baseline_feature_unseen_ratio",
    "ratio",
    "The same in the active baseline, at the same hours.",
    labels=(*MODEL_LABELS, "feature"),
)
EXPERIMENT_LABELS = (*MODEL_LABELS, "experiment")
EXPERIMENT_CTR = _gauge(
    "ctr_experiment_click_through_ratio",
    "ratio",
    "Clicks per prediction of a variant of the A/B test; absent until it has one.",
    labels=EXPERIMENT_LABELS,
)
EXPERIMENT_DIFFERENCE = _gauge(
    "ctr_experiment_difference_ratio",
    "ratio",
    "Click-through rate of a challenger less that of the baseline.",
    labels=EXPERIMENT_LABELS,
)
EXPERIMENT_DIFFERENCE_LOWER = _gauge(
    "ctr_experiment_difference_lower_ratio",
    "ratio",
    "Least difference that has not been rejected; holds however often it is looked at.",
    labels=EXPERIMENT_LABELS,
)
EXPERIMENT_DIFFERENCE_UPPER = _gauge(
    "ctr_experiment_difference_upper_ratio",
    "ratio",
    "Greatest difference that has not been rejected.",
    labels=EXPERIMENT_LABELS,
)
EXPERIMENT_LOG_EVIDENCE = _gauge(
    "ctr_experiment_log_evidence",
    "nats",
    "Logarithm of the evidence that a challenger differs from the baseline.",
    labels=EXPERIMENT_LABELS,
)
EXPERIMENT_VERDICT = _gauge(
    "ctr_experiment_verdict",
    "0 or 1",
    "Whether this is the verdict on a challenger.",
    labels=(*EXPERIMENT_LABELS, "verdict"),
)
EXPERIMENT_MISMATCH = _gauge(
    "ctr_experiment_sample_ratio_mismatch",
    "0 or 1",
    "Whether the variants do not get the users that their weights promise.",
    labels=("experiment",),
)
EXPERIMENT_MISMATCH_LOG_EVIDENCE = _gauge(
    "ctr_experiment_sample_ratio_log_evidence",
    "nats",
    "Logarithm of the evidence that they do not.",
    labels=("experiment",),
)
SNAPSHOT_STORED = _gauge(
    "ctr_snapshot_stored_timestamp_seconds",
    "Unix seconds",
    "When the newest snapshot of the history was taken; stands still when nobody does it.",
    labels=(),
)
BRIDGE_STATUS = _gauge(
    "ctr_bridge_status_timestamp_seconds",
    "Unix seconds",
    "When the bridge to MLflow last said how it is; stands still when it does not run.",
    labels=(),
)
BRIDGE_LAST_SUCCESS = _gauge(
    "ctr_bridge_last_success_timestamp_seconds",
    "Unix seconds",
    "When MLflow last took what it was told, or nothing was left to tell.",
    labels=(),
)
BRIDGE_LAG = _gauge(
    "ctr_bridge_lag_seconds",
    "seconds",
    "Age of the oldest window that is over and not in MLflow.",
    labels=(),
)
BRIDGE_WAITING = _gauge(
    "ctr_bridge_outbox_points", "points", "Values that wait to be written to MLflow.", labels=()
)
BRIDGE_REFUSED = _gauge(
    "ctr_bridge_refused_entries",
    "entries",
    "Entries that MLflow refuses in part for good, or that are damaged.",
    labels=(),
)
BRIDGE_DROPPED = _gauge(
    "ctr_bridge_dropped_sample_points",
    "points",
    "Individual predictions given up since the bridge began, because too much waited.",
    labels=(),
)
BRIDGE_COMPLETENESS = _gauge(
    "ctr_bridge_completeness_ratio",
    "ratio",
    "Share of the last closed day's windows that were written; the least of any model.",
    labels=(),
)
BRIDGE_FAILURES = _gauge(
    "ctr_bridge_failures",
    "calls",
    "Calls to MLflow that failed since the bridge began, by reason.",
    labels=("reason",),
)
COUNTERS_BEGAN = _gauge(
    "ctr_counters_began_timestamp_seconds",
    "Unix seconds",
    "When the counters of this epoch began at zero.",
    labels=(),
    merge=None,
)
UNREADABLE_FILES = _gauge(
    "ctr_metrics_unreadable_files",
    "files",
    "Metrics files of workers that could not be read and were left out.",
    labels=(),
    merge=None,
)

CATALOGUE = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
"""All of them, in this order."""
