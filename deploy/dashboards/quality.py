"""Panels about predictions, drift and calibration that the dashboards share."""

from dataclasses import replace

from deploy.dashboards import limits
from deploy.dashboards.links import Runbook
from deploy.dashboards.panels import (
    ALARM,
    CALM,
    HEIGHT,
    AnyPanel,
    Limit,
    Query,
    graph,
    number,
    timeline,
)
from deploy.dashboards.selection import SHOWN_PERIOD, Selection, ratio, some
from service.monitoring.catalogue import CLICKS, DRIFT_ACTIVE, DRIFT_LOG_EVIDENCE, PREDICTION

NO_CLICKS = "No clicks yet"
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
        Query(selection.quantity_evidence(DRIFT_LOG_EVIDENCE), "{{model}} {{quantity}}"),
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
        Query(selection.served(DRIFT_ACTIVE, "type"), "{{model}} {{type}}"),
        states=_STATES,
        width=width,
        runbook=Runbook.DRIFT,
    )


def calibration(selection: Selection, *, width: int = 12) -> AnyPanel:
    """Clicks of what was predicted, over time."""
    return graph(
        "Calibration over time",
        "Clicks divided by the sum of predicted click-through rates of the same minutes; 1 is "
        "right, above 1 the model predicts too little. Clicks arrive later than their predictions: "
        "after a change of traffic it is off until they have.",
        "short",
        Query(
            ratio(some(selection.rate(CLICKS)), selection.rate(PREDICTION, "_sum")),
            _name(selection),
        ),
        width=width,
        runbook=Runbook.CALIBRATION,
        no_value=NO_CLICKS,
        at_least="10m",
    )


def calibration_of_period(
    selection: Selection, *, width: int = 6, height: int = HEIGHT
) -> AnyPanel:
    """Clicks of what was predicted, one figure."""
    period = replace(selection, span=SHOWN_PERIOD)
    return number(
        "Calibration",
        "Clicks divided by the sum of predicted click-through rates, over the period shown; 1 is "
        "right.",
        "short",
        Query(
            ratio(some(period.increase(CLICKS)), period.increase(PREDICTION, "_sum")),
            _name(selection),
        ),
        width=width,
        height=height,
        runbook=Runbook.CALIBRATION,
        decimals=3,
        no_value=NO_CLICKS,
    )


def _name(selection: Selection) -> str:
    return f"{{{{{selection.by}}}}}"
