"""Panels about predictions, drift and quality that the dashboards share."""

from collections.abc import Sequence
from dataclasses import dataclass

from deploy.dashboards import limits
from deploy.dashboards.links import Runbook
from deploy.dashboards.panels import (
    ALARM,
    CALM,
    HEIGHT,
    AnyPanel,
    Limit,
    Query,
    bars,
    graph,
    number,
    timeline,
)
from deploy.dashboards.selection import Selection
from service.monitoring import catalogue
from service.monitoring.quality.measures import Measure

NO_CLICKS = "No clicks yet"
TOO_EARLY = "Too few clicks so far"


@dataclass(frozen=True, slots=True)
class _Shown:
    """How one measure of quality is shown."""

    title: str
    description: str
    metric: catalogue.Metric
    unit: str = "short"
    limit: Limit | None = None


_SHOWN = {
    Measure.CALIBRATION_RATIO: _Shown(
        "Calibration over time",
        "Clicks that the predictions made expect, divided by those that came; 1 is right, above 1 "
        "the model predicts too many. Of the day of predictions whose clicks have all come.",
        catalogue.QUALITY_CALIBRATION,
        limit=Limit(limits.CALIBRATION_RATIO),
    ),
    Measure.NORMALIZED_ENTROPY: _Shown(
        "Normalised entropy",
        "Log loss divided by that of always predicting the click-through rate; below 1 the model "
        "knows something, the lower the better.",
        catalogue.QUALITY_NORMALIZED_ENTROPY,
        limit=Limit(1),
    ),
    Measure.AUC: _Shown(
        "AUC",
        "Probability that a click scored above a non-click, half credit where both are in one "
        "bucket of the score; 0.5 is chance.",
        catalogue.QUALITY_AUC,
        limit=Limit(0.5, wrong="below"),
    ),
    Measure.LOG_LOSS: _Shown(
        "Log loss",
        "Mean of -ln(p) over clicks and -ln(1 - p) over the rest, nats.",
        catalogue.QUALITY_LOG_LOSS,
    ),
    Measure.CTR: _Shown(
        "Click-through rate, all clicks",
        "Clicks divided by predictions, of the day of predictions whose clicks have all come.",
        catalogue.QUALITY_CTR,
        "percentunit",
    ),
}
_STATES = {0: ("none", CALM), 1: ("drift", ALARM)}


def drift_evidence(selection: Selection, *, width: int = 12) -> AnyPanel:
    """Evidence against the threshold."""
    return graph(
        "Evidence of drift",
        "Logarithm of how much better a change explains the traffic than none: predictions, "
        "latency and calibration, each summed over its channels as the alarm sees it. Normal "
        "traffic stays below 12; drift is detected at the dashed line. Looking often does not "
        "raise the false alarms.",
        "short",
        Query(selection.quantity_evidence(catalogue.DRIFT_LOG_EVIDENCE), "{{model}} {{quantity}}"),
        width=width,
        limit=Limit(limits.DRIFT_LOG_EVIDENCE),
        limit_in_sight=True,
        runbook=Runbook.DRIFT,
    )


def active_drift(selection: Selection, *, width: int = 8) -> AnyPanel:
    """Kinds of drift that stand."""
    return timeline(
        "Active drift",
        "Which kinds of drift stand, for each model. A kind stays until the evidence has been low "
        "for a quarter of an hour.",
        Query(selection.served(catalogue.DRIFT_ACTIVE, "type"), "{{model}} {{type}}"),
        states=_STATES,
        width=width,
        runbook=Runbook.DRIFT,
    )


def calibration_now(selection: Selection, *, width: int = 6, height: int = HEIGHT) -> AnyPanel:
    """Expected clicks by clicks, one figure."""
    return number(
        "Calibration",
        "Expected clicks divided by clicks, of the latest day of predictions whose clicks have all "
        "come; 1 is right.",
        "short",
        Query(selection.served(catalogue.QUALITY_CALIBRATION), _name(selection)),
        width=width,
        height=height,
        runbook=Runbook.CALIBRATION,
        decimals=3,
        no_value=TOO_EARLY,
    )


def measure(
    which: Measure, selection: Selection, *, width: int = 8, interval: bool = False
) -> AnyPanel:
    """One measure of quality over time, with its 95 % interval if asked."""
    shown = _SHOWN[which]
    ends = [
        Query(
            selection.served(metric, measure=which.value), f"{_name(selection)} {end}", "reference"
        )
        for metric, end in (
            (catalogue.QUALITY_INTERVAL_LOW, "at least"),
            (catalogue.QUALITY_INTERVAL_HIGH, "at most"),
        )
        if interval
    ]
    dashed = " Dashed: where the truth lies with 95 % confidence." if interval else ""
    return graph(
        shown.title,
        shown.description + dashed,
        shown.unit,
        Query(selection.served(shown.metric), _name(selection)),
        *ends,
        width=width,
        limit=None if interval else shown.limit,
        limit_in_sight=not interval,
        from_zero=False,
        runbook=Runbook.CALIBRATION,
        no_value=TOO_EARLY,
    )


def reliability(selection: Selection, *, width: int = 16) -> AnyPanel:
    """What was predicted and what was clicked, by bucket of the score."""
    return bars(
        "Reliability",
        "For each bucket of the predicted click-through rate: mean prediction and how many were "
        "clicked. A calibrated model has bars of equal height.",
        "percentunit",
        Query(selection.served(catalogue.QUALITY_BUCKET_PREDICTION, "le"), "predicted {{le}}"),
        Query(selection.served(catalogue.QUALITY_BUCKET_CTR, "le"), "clicked {{le}}"),
        titles=("predicted", "clicked"),
        by="le",
        by_title="predicted up to",
        width=width,
        runbook=Runbook.CALIBRATION,
        no_value=TOO_EARLY,
    )


def judged(selection: Selection) -> Sequence[AnyPanel]:
    """What quality is judged on."""
    return [
        number(
            "Predictions judged",
            "The latest day of predictions whose clicks have all come.",
            "short",
            Query(selection.served(catalogue.QUALITY_PREDICTIONS), _name(selection)),
            no_value=TOO_EARLY,
        ),
        number(
            "Clicks on them",
            "Quality is judged from 20 clicks on.",
            "short",
            Query(selection.served(catalogue.QUALITY_CLICKS), _name(selection)),
            no_value=TOO_EARLY,
        ),
        number(
            "Time behind",
            "How long ago the last of these predictions was made: the attribution window and up to "
            "two minutes.",
            "s",
            Query(selection.age(catalogue.QUALITY_WINDOW_END), "{{instance}}"),
            no_value=TOO_EARLY,
        ),
    ]


def _name(selection: Selection) -> str:
    return f"{{{{{selection.by}}}}}"
