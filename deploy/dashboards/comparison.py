"""Which model is better? The models of an A/B test side by side."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.dashboards import limits, quality, variables
from deploy.dashboards.experiment import experiment
from deploy.dashboards.frame import Section, dashboard
from deploy.dashboards.links import Runbook
from deploy.dashboards.panels import (
    HEIGHT,
    AnyPanel,
    Column,
    Limit,
    Query,
    graph,
    number,
    side_by_side,
)
from deploy.dashboards.quality import NO_CLICKS
from deploy.dashboards.selection import SHOWN_PERIOD, Selection, ratio, some
from service.monitoring import catalogue
from service.monitoring.quality.measures import Measure

UID = "ctr-comparison"
_MODELS = Selection()
_PERIOD = Selection(span=SHOWN_PERIOD)
_EVERYTHING = Selection(by="", span=SHOWN_PERIOD)


def comparison() -> Dashboard:
    """Build the dashboard."""
    return dashboard(
        UID,
        "CTR / A/B comparison",
        "The models of an A/B test side by side.",
        variables.models(),
        sections=[
            _period(),
            experiment(_MODELS),
            _traffic(),
            _latency(),
            _predictions(),
            _outcome(),
        ],
    )


def _period() -> Section:
    duration, prediction = catalogue.REQUEST_DURATION, catalogue.PREDICTION
    return Section(
        "The period shown",
        [
            side_by_side(
                "Models side by side",
                "Figures of the whole period shown. All requests count, those that name a model "
                "too: what the experiment concludes is in the row below.",
                Column("Requests", _PERIOD.increase(catalogue.REQUESTS), "locale", decimals=0),
                Column(
                    "Share",
                    f"{_PERIOD.increase(catalogue.REQUESTS)} "
                    f"/ scalar({_EVERYTHING.increase(catalogue.REQUESTS)})",
                    "percentunit",
                    decimals=1,
                ),
                Column(
                    "Error rate",
                    ratio(
                        _PERIOD.increase(catalogue.REQUESTS, outcome="error"),
                        _PERIOD.increase(catalogue.REQUESTS),
                    ),
                    "percentunit",
                    decimals=2,
                    limit=Limit(limits.ERROR_RATIO),
                ),
                Column(
                    "Mean latency",
                    _PERIOD.mean(duration),
                    "s",
                    limit=Limit(limits.LATENCY_SECONDS),
                ),
                Column("Latency, 50 %", _PERIOD.quantile(0.5, duration), "s"),
                Column("Latency, 99 %", _PERIOD.quantile(0.99, duration), "s"),
                Column(
                    "Predictions",
                    _PERIOD.increase(prediction, "_count"),
                    "locale",
                    decimals=0,
                ),
                Column("Mean prediction", _PERIOD.mean(prediction), "percentunit", decimals=3),
                Column(
                    "Standard deviation",
                    _PERIOD.deviation(prediction, catalogue.PREDICTION_SQUARED),
                    "percentunit",
                    decimals=3,
                ),
            )
        ],
    )


def _traffic() -> Section:
    return Section(
        "Traffic and errors",
        [
            graph(
                "Share of traffic",
                "Share of the requests that each model answered. Requests that name a model are in "
                "it, so it need not be the weights of the experiment.",
                "percentunit",
                Query(
                    f"{_MODELS.rate(catalogue.REQUESTS)} "
                    f"/ scalar({Selection(by='').rate(catalogue.REQUESTS)})",
                    "{{model}}",
                ),
                stacked="normal",
            ),
            graph(
                "Error rate",
                "Share of requests that the model failed.",
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
                "Mean latency",
                "Mean duration of a request.",
                "s",
                Query(_MODELS.mean(catalogue.REQUEST_DURATION), "{{model}}"),
                limit=Limit(limits.LATENCY_SECONDS),
                runbook=Runbook.LATENCY,
            ),
        ],
    )


def _latency() -> Section:
    return Section(
        "Latency",
        [_quantile("Latency", 0.5), _quantile("Latency", 0.95), _quantile("Latency", 0.99)],
    )


def _quantile(title: str, share: float) -> AnyPanel:
    return graph(
        f"{title}, {100 * share:g} %",
        f"Time that {100 * share:g} % of the requests of each model stay below.",
        "s",
        Query(_MODELS.quantile(share, catalogue.REQUEST_DURATION), "{{model}}"),
        limit=Limit(limits.LATENCY_SECONDS),
        runbook=Runbook.LATENCY,
    )


def _predictions() -> Section:
    prediction = catalogue.PREDICTION
    return Section(
        "Predictions",
        [
            graph(
                "Mean prediction",
                "Mean predicted click-through rate. Both see users of the same kind: a difference "
                "is one of the models.",
                "percentunit",
                Query(_MODELS.mean(prediction), "{{model}}"),
                from_zero=False,
                width=12,
            ),
            graph(
                "Spread of predictions",
                "Standard deviation of the predictions: a model that tells users apart has more.",
                "percentunit",
                Query(_MODELS.deviation(prediction, catalogue.PREDICTION_SQUARED), "{{model}}"),
                width=12,
            ),
            *(
                graph(
                    f"Predictions, {100 * share:g} %",
                    f"Predicted click-through rate that {100 * share:g} % of the predictions of "
                    "each model stay below.",
                    "percentunit",
                    Query(_MODELS.quantile(share, prediction), "{{model}}"),
                )
                for share in (0.1, 0.5, 0.9)
            ),
        ],
    )


def _outcome() -> Section:
    clicks = some(_PERIOD.increase(catalogue.CLICKS))
    return Section(
        "Clicks",
        [
            number(
                "Click-through rate",
                "Clicks divided by predictions, over the period shown.",
                "percentunit",
                Query(ratio(clicks, _PERIOD.increase(catalogue.PREDICTION, "_count")), "{{model}}"),
                width=6,
                height=HEIGHT,
                decimals=3,
                no_value=NO_CLICKS,
            ),
            quality.calibration_now(_MODELS),
            quality.measure(Measure.CALIBRATION_RATIO, _MODELS, width=12),
            quality.measure(Measure.NORMALIZED_ENTROPY, _MODELS, width=12),
            quality.measure(Measure.AUC, _MODELS, width=12),
        ],
    )
