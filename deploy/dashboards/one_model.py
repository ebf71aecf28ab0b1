"""What is going on in one model? Everything that the metrics say about it, by version."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.dashboards import features, limits, quality, variables
from deploy.dashboards.frame import Section, dashboard
from deploy.dashboards.links import Runbook
from deploy.dashboards.panels import (
    ALARM,
    CALM,
    AnyPanel,
    Limit,
    Query,
    distribution,
    graph,
    number,
    words,
)
from deploy.dashboards.selection import Selection, ratio
from service.monitoring import catalogue
from service.monitoring.quality.measures import Measure

UID = "ctr-model"
_MODEL = Selection(versions=True)
_VERSIONS = Selection(by="version", versions=True)
_ALL = Selection(by="", versions=True)
_READ = """\
Errors and latency of **$model**, then what it predicts, what it is asked, and whether that has \
changed. Days and weeks are in [MLflow](${mlflow}); what to do is in the [runbooks](${runbooks}). \
Minimum and maximum are since the counters began, everything else is of the moment."""


def one_model() -> Dashboard:
    """Build the dashboard."""
    return dashboard(
        UID,
        "CTR / One model",
        "What is going on in one model, version by version.",
        variables.one_model(),
        variables.versions(),
        sections=[
            _identity(),
            _requests(),
            _predictions(),
            _features(),
            _drift(),
            features.drift(_MODEL),
            Section(
                "Quality",
                [
                    quality.calibration_now(_VERSIONS),
                    quality.measure(Measure.CALIBRATION_RATIO, _VERSIONS, width=9, interval=True),
                    quality.measure(Measure.NORMALIZED_ENTROPY, _VERSIONS, width=9, interval=True),
                    *(
                        quality.measure(which, _VERSIONS, interval=True)
                        for which in (Measure.AUC, Measure.LOG_LOSS, Measure.CTR)
                    ),
                    quality.reliability(_ALL, width=12),
                    *quality.judged(_VERSIONS),
                ],
            ),
        ],
    )


def _identity() -> Section:
    return Section(
        "Model",
        [
            words(
                "How to read this",
                "What the sections of this dashboard are about.",
                _READ,
                width=12,
            ),
            number(
                "Versions",
                "How many instances serve each version now.",
                "none",
                Query(
                    f"count by (version, model_kind) ({_MODEL.series(catalogue.MODEL_INFO)} == 1)",
                    "{{model_kind}} {{version}}",
                ),
                width=8,
            ),
            number(
                "Last prediction",
                "The most recent predicted click-through rate.",
                "percentunit",
                Query(_VERSIONS.greatest(catalogue.PREDICTION_LAST), "{{version}}"),
                names=False,
            ),
        ],
    )


def _requests() -> Section:
    duration, squares = catalogue.REQUEST_DURATION, catalogue.REQUEST_DURATION_SQUARED
    return Section(
        "Requests",
        [
            graph(
                "Requests by outcome",
                "Requests that reached the model; a batch is one request.",
                "reqps",
                Query(_ALL.rate(catalogue.REQUESTS, "", "outcome"), "{{outcome}}"),
                stacked="normal",
                colors={"success": CALM, "error": ALARM},
            ),
            graph(
                "Error rate",
                "Share of requests that the model failed, by version.",
                "percentunit",
                Query(
                    ratio(
                        _VERSIONS.rate(catalogue.REQUESTS, outcome="error"),
                        _VERSIONS.rate(catalogue.REQUESTS),
                    ),
                    "{{version}}",
                ),
                limit=Limit(limits.ERROR_RATIO),
                runbook=Runbook.ERRORS,
            ),
            graph(
                "Errors by type",
                "Requests that the model failed, by what went wrong.",
                "reqps",
                Query(_ALL.rate(catalogue.REQUEST_ERRORS, "", "error_type"), "{{error_type}}"),
                runbook=Runbook.ERRORS,
            ),
            graph(
                "Latency",
                "Time that 50, 95 and 99 % of requests stay below.",
                "s",
                *_quantiles(catalogue.REQUEST_DURATION, (0.5, 0.95, 0.99)),
                limit=Limit(limits.LATENCY_SECONDS),
                runbook=Runbook.LATENCY,
            ),
            graph(
                "Mean and spread of latency",
                "Mean and standard deviation, exact, not from buckets; beside the baseline's "
                "(dashed), which is absent where it has none, as after training.",
                "s",
                Query(_ALL.mean(duration), "mean"),
                Query(_ALL.deviation(duration, squares), "standard deviation"),
                Query(
                    _MODEL.served(catalogue.BASELINE_LATENCY_MEAN), "mean, baseline", "reference"
                ),
                Query(
                    _MODEL.served(catalogue.BASELINE_LATENCY_STD),
                    "standard deviation, baseline",
                    "reference",
                ),
                limit=Limit(limits.LATENCY_SECONDS),
                runbook=Runbook.LATENCY,
            ),
            distribution(
                "Distribution of latency",
                "How many requests took how long.",
                "s",
                Query(_ALL.buckets(duration), "{{le}}"),
            ),
            graph(
                "Shortest and longest request",
                "Since the counters began.",
                "s",
                Query(_ALL.least(catalogue.REQUEST_DURATION_MIN), "shortest"),
                Query(_ALL.greatest(catalogue.REQUEST_DURATION_MAX), "longest"),
                width=12,
                logarithmic=True,
            ),
            graph(
                "Requests in progress",
                "Requests that living workers are answering at the moment of the scrape.",
                "short",
                Query(
                    f"sum by (instance) ({_MODEL.series(catalogue.REQUESTS_IN_PROGRESS)})",
                    "{{instance}}",
                ),
                width=12,
            ),
        ],
    )


def _predictions() -> Section:
    prediction, squares = catalogue.PREDICTION, catalogue.PREDICTION_SQUARED
    return Section(
        "Predictions",
        [
            graph(
                "Mean prediction",
                "Mean predicted click-through rate by version, beside the baseline's (dashed).",
                "percentunit",
                Query(_VERSIONS.mean(prediction), "{{version}}"),
                Query(_MODEL.served(catalogue.BASELINE_PREDICTION_MEAN), "baseline", "reference"),
                from_zero=False,
                runbook=Runbook.DRIFT,
            ),
            graph(
                "Spread of predictions",
                "Standard deviation by version, exact, not from buckets; beside the baseline's "
                "(dashed).",
                "percentunit",
                Query(_VERSIONS.deviation(prediction, squares), "{{version}}"),
                Query(_MODEL.served(catalogue.BASELINE_PREDICTION_STD), "baseline", "reference"),
                from_zero=False,
                runbook=Runbook.DRIFT,
            ),
            graph(
                "Quantiles of predictions",
                "Predicted click-through rate that 10, 50 and 90 % of predictions stay below.",
                "percentunit",
                *_quantiles(prediction, (0.1, 0.5, 0.9)),
            ),
            distribution(
                "Distribution of predictions",
                "How many predictions fell into which range.",
                "percentunit",
                Query(_ALL.buckets(prediction), "{{le}}"),
                width=12,
            ),
            graph(
                "Predictions",
                "Predictions by version; a batch of 1,000 rows is 1,000 predictions.",
                "cps",
                Query(_VERSIONS.rate(prediction, "_count"), "{{version}}"),
                width=12,
            ),
        ],
    )


def _features() -> Section:
    unseen = _unseen("user"), _unseen("ad"), _unseen("device"), _unseen("placement")
    return Section(
        "What the model is asked",
        [
            graph(
                "Never seen in training",
                "Share of predictions whose user, ad, device or placement training had not seen.",
                "percentunit",
                *unseen,
                width=12,
                runbook=Runbook.DRIFT,
            ),
            _shares("device", "Devices", "Predictions by device, as shares of all.", 12),
            _shares("placement", "Placements", "Predictions by placement, as shares of all.", 8),
            _shares("hour", "Hours", "Predictions by hour asked about, as shares of all.", 8),
            _shares(
                "day_of_week",
                "Days of the week",
                "Predictions by day asked about, as shares of all; 0 is Monday.",
                8,
            ),
        ],
    )


def _shares(feature: str, title: str, description: str, width: int) -> AnyPanel:
    values = _ALL.rate(catalogue.FEATURE_VALUES, "", "value", feature=feature)
    # Two digits, so that the hours come in their order.
    in_order = f'label_replace({values}, "value", "0$1", "value", "(.)")'
    return graph(
        title,
        description,
        "cps",
        Query(in_order if feature == "hour" else values, "{{value}}"),
        width=width,
        stacked="percent",
        legend=feature not in {"hour", "placement"},
    )


def _drift() -> Section:
    return Section(
        "Drift",
        [
            quality.drift_evidence(_MODEL, width=8),
            _channels(),
            quality.active_drift(_MODEL, width=8),
        ],
    )


def _channels() -> AnyPanel:
    return graph(
        "Evidence by channel",
        "What the evidence is made of: mean, location, spread, skew and buckets of predictions; "
        "mean and location of the latency.",
        "short",
        Query(_ALL.served(catalogue.DRIFT_LOG_EVIDENCE, "channel"), "{{channel}}"),
        width=8,
        from_zero=False,
        runbook=Runbook.DRIFT,
    )


def _quantiles(histogram: catalogue.Metric, shares: tuple[float, ...]) -> list[Query]:
    return [Query(_ALL.quantile(q, histogram), f"{100 * q:g} %") for q in shares]


def _unseen(feature: str) -> Query:
    values = catalogue.FEATURE_VALUES
    return Query(
        ratio(
            _ALL.rate(values, feature=feature, value="(unseen)"),
            _ALL.rate(values, feature=feature),
        ),
        feature,
    )
