"""Is the service well? Requests first, then predictions, drift, quality, workers, bridge."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.dashboards import limits, quality, variables
from deploy.dashboards.frame import Section, dashboard
from deploy.dashboards.links import Runbook
from deploy.dashboards.panels import (
    ALARM,
    CALM,
    HEIGHT,
    WARNING,
    Limit,
    Query,
    distribution,
    graph,
    number,
)
from deploy.dashboards.selection import Selection, ratio
from service.monitoring import catalogue
from service.monitoring.quality.measures import Measure

UID = "ctr-overview"
_MODELS = Selection()
_ALL = Selection(by="")
_INSTANCES = Selection(by="instance")
_HEALTH = {0: ("healthy", CALM), 1: ("warning", WARNING), 2: ("degraded", ALARM)}


def overview() -> Dashboard:
    """Build the dashboard."""
    return dashboard(
        UID,
        "CTR / Overview",
        "Whether the service is well: every model and every instance on one page.",
        variables.models(),
        sections=[
            _requests(),
            _predictions(),
            _drift(),
            _quality(),
            _saturation(),
            _bridge(),
        ],
    )


def _requests() -> Section:
    duration = catalogue.REQUEST_DURATION
    return Section(
        "Requests",
        [
            number(
                "Health",
                "What GET /monitoring/health says of each model: error rate, latency and drift "
                "against their thresholds. The worst of all instances.",
                "none",
                Query(_MODELS.greatest(catalogue.HEALTH_STATUS), "{{model}}"),
                width=6,
                states=_HEALTH,
            ),
            number(
                "Requests per second",
                "Requests that reached a model; a batch is one request.",
                "reqps",
                Query(_ALL.rate(catalogue.REQUESTS), "all models"),
                names=False,
            ),
            number(
                "Error rate",
                "Share of requests that a model failed, all models together.",
                "percentunit",
                Query(
                    ratio(
                        _ALL.rate(catalogue.REQUESTS, outcome="error"),
                        _ALL.rate(catalogue.REQUESTS),
                    ),
                    "all models",
                ),
                limit=Limit(limits.ERROR_RATIO),
                runbook=Runbook.ERRORS,
                names=False,
                decimals=2,
            ),
            number(
                "Latency, 99 %",
                "Time that 99 % of requests stay below, all models together.",
                "s",
                Query(_ALL.quantile(0.99, duration), "all models"),
                limit=Limit(limits.LATENCY_SECONDS),
                runbook=Runbook.LATENCY,
                names=False,
            ),
            number(
                "Instances up",
                "Share of the known instances that answer Prometheus.",
                "percentunit",
                Query('avg(up{job=~"$job", instance=~"$instance"})', "up"),
                width=3,
                limit=Limit(1, wrong="below"),
                runbook=Runbook.TARGET,
                names=False,
            ),
            number(
                "Prometheus scrape",
                "Time that the slowest instance takes to answer Prometheus.",
                "s",
                Query(
                    'max(scrape_duration_seconds{job=~"$job", instance=~"$instance"})', "slowest"
                ),
                width=3,
                names=False,
            ),
            graph(
                "Requests",
                "Requests that reached each model; a batch is one request.",
                "reqps",
                Query(_MODELS.rate(catalogue.REQUESTS), "{{model}}"),
            ),
            graph(
                "Error rate by model",
                "Share of requests that the model failed. Above the dashed line the model is "
                "degraded. A client's mistakes are not in it.",
                "percentunit",
                Query(
                    ratio(
                        _MODELS.rate(catalogue.REQUESTS, outcome="error"),
                        _MODELS.rate(catalogue.REQUESTS),
                    ),
                    "{{model}}",
                ),
                limit=Limit(limits.ERROR_RATIO),
                runbook=Runbook.ERRORS,
            ),
            graph(
                "Errors by type",
                "Requests that a model failed, by what went wrong.",
                "reqps",
                Query(
                    _MODELS.rate(catalogue.REQUEST_ERRORS, "", "error_type"),
                    "{{model}} {{error_type}}",
                ),
                runbook=Runbook.ERRORS,
            ),
            graph(
                "Latency",
                "Time that 50, 95 and 99 % of requests stay below, all models together, from the "
                "arrival of the body to the finished answer.",
                "s",
                *(
                    Query(_ALL.quantile(q, duration), f"{q:.0%}".replace("%", " %"))
                    for q in (0.5, 0.95, 0.99)
                ),
                limit=Limit(limits.LATENCY_SECONDS),
                runbook=Runbook.LATENCY,
            ),
            graph(
                "Mean latency by model",
                "Mean duration of a request. Above the dashed line the model is degraded.",
                "s",
                Query(_MODELS.mean(duration), "{{model}}"),
                limit=Limit(limits.LATENCY_SECONDS),
                runbook=Runbook.LATENCY,
            ),
            distribution(
                "Distribution of latency",
                "How many requests took how long: two bands show what no percentile shows.",
                "s",
                Query(_ALL.buckets(duration), "{{le}}"),
            ),
        ],
    )


def _predictions() -> Section:
    prediction = catalogue.PREDICTION
    return Section(
        "Predictions",
        [
            graph(
                "Mean prediction",
                "Mean predicted click-through rate of each model, beside the mean of its baseline "
                "(dashed).",
                "percentunit",
                Query(_MODELS.mean(prediction), "{{model}}"),
                Query(
                    _MODELS.served(catalogue.BASELINE_PREDICTION_MEAN),
                    "{{model}} baseline",
                    "reference",
                ),
                from_zero=False,
                runbook=Runbook.DRIFT,
            ),
            distribution(
                "Distribution of predictions",
                "How many predictions fell into which range.",
                "percentunit",
                Query(_ALL.buckets(prediction), "{{le}}"),
            ),
            graph(
                "Predictions",
                "Predictions of each model; a batch of 1,000 rows is 1,000 predictions.",
                "cps",
                Query(_MODELS.rate(prediction, "_count"), "{{model}}"),
            ),
        ],
    )


def _drift() -> Section:
    evidence = _MODELS.quantity_evidence(catalogue.DRIFT_LOG_EVIDENCE)
    threshold = _ALL.greatest(catalogue.DRIFT_LOG_EVIDENCE_THRESHOLD)
    return Section(
        "Drift",
        [
            quality.drift_evidence(_MODELS, width=10),
            quality.active_drift(_MODELS, width=8),
            number(
                "Evidence, share of the threshold",
                "The greatest evidence of each model against the threshold in force; at 100 % "
                "drift is detected.",
                "percentunit",
                Query(
                    f"clamp_min(max by (model) ({evidence}) / scalar({threshold}), 0)",
                    "{{model}}",
                ),
                width=6,
                height=HEIGHT,
                limit=Limit(1),
                runbook=Runbook.DRIFT,
                decimals=0,
            ),
        ],
    )


def _quality() -> Section:
    return Section(
        "Quality",
        [
            quality.calibration_now(_MODELS, width=4),
            quality.measure(Measure.CALIBRATION_RATIO, _MODELS, width=10),
            quality.measure(Measure.NORMALIZED_ENTROPY, _MODELS, width=10),
        ],
    )


def _saturation() -> Section:
    return Section(
        "Saturation",
        [
            graph(
                "Requests in progress",
                "Requests that living workers are answering at the moment of the scrape.",
                "short",
                Query(
                    f"sum by (model) ({_MODELS.series(catalogue.REQUESTS_IN_PROGRESS)})",
                    "{{model}}",
                ),
                width=8,
            ),
            graph(
                "Age of the newest snapshot",
                "Time since each instance last took a snapshot of its counters. Above the dashed "
                "line windows, drift and health stand still.",
                "s",
                Query(_INSTANCES.age(catalogue.SNAPSHOT_STORED), "{{instance}}"),
                width=8,
                limit=Limit(limits.SNAPSHOT_AGE_SECONDS),
                runbook=Runbook.EVALUATION,
            ),
            graph(
                "Refused requests",
                "Requests refused before a model was asked, by reason.",
                "reqps",
                Query(
                    Selection(by="reason").rate(catalogue.REJECTED_REQUESTS),
                    "{{reason}}",
                ),
                width=8,
            ),
            number(
                "Time since the counters began",
                "Falls to zero when an instance restarts.",
                "s",
                Query(_INSTANCES.age(catalogue.COUNTERS_BEGAN), "{{instance}}"),
                width=12,
            ),
            number(
                "Unreadable metrics files",
                "Above zero the counts of some worker are missing.",
                "none",
                Query(_INSTANCES.greatest(catalogue.UNREADABLE_FILES), "{{instance}}"),
                width=12,
                limit=Limit(1),
            ),
        ],
    )


def _bridge() -> Section:
    return Section(
        "Bridge to MLflow",
        [
            graph(
                "Lag",
                "Age of the oldest window that is over and not in MLflow.",
                "s",
                Query(_ALL.greatest(catalogue.BRIDGE_LAG), "lag"),
                width=6,
                limit=Limit(limits.BRIDGE_LAG_SECONDS),
                runbook=Runbook.BRIDGE,
            ),
            graph(
                "Waiting points",
                "Values in the outbox; it fills while MLflow does not answer, and nothing is lost.",
                "short",
                Query(_ALL.greatest(catalogue.BRIDGE_WAITING), "points"),
                width=6,
                runbook=Runbook.BRIDGE,
            ),
            graph(
                "Failed calls",
                "Calls to MLflow that failed since the bridge began, by reason.",
                "short",
                Query(Selection(by="reason").greatest(catalogue.BRIDGE_FAILURES), "{{reason}}"),
                width=6,
                runbook=Runbook.BRIDGE,
                no_value="No failure",
            ),
            graph(
                "Silence",
                "Time since the bridge last said how it is, and since MLflow last took what it "
                "was told.",
                "s",
                Query(f"time() - {_ALL.greatest(catalogue.BRIDGE_STATUS)}", "since the last sign"),
                Query(
                    f"time() - {_ALL.greatest(catalogue.BRIDGE_LAST_SUCCESS)}",
                    "since the last success",
                ),
                width=6,
                limit=Limit(limits.BRIDGE_LAG_SECONDS),
                runbook=Runbook.BRIDGE,
            ),
            number(
                "Completeness of the last day",
                "Share of the windows of the last closed day that are in MLflow; the least of any "
                "model.",
                "percentunit",
                Query(_ALL.least(catalogue.BRIDGE_COMPLETENESS), "written"),
                width=8,
                limit=Limit(limits.COMPLETENESS_RATIO, wrong="below"),
                runbook=Runbook.BRIDGE,
                names=False,
                no_value="No day closed yet",
            ),
            number(
                "Refused entries",
                "Entries that MLflow refuses in part for good, or that are damaged.",
                "none",
                Query(_ALL.greatest(catalogue.BRIDGE_REFUSED), "entries"),
                width=8,
                limit=Limit(1),
                runbook=Runbook.BRIDGE,
                names=False,
            ),
            number(
                "Individual predictions given up",
                "Since the bridge began, because too much waited. Aggregates are never given up.",
                "none",
                Query(_ALL.greatest(catalogue.BRIDGE_DROPPED), "points"),
                width=8,
                limit=Limit(1),
                runbook=Runbook.BRIDGE,
                names=False,
            ),
        ],
    )
