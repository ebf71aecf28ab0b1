"""Panels about drift of what a model is asked."""

from dataclasses import replace

from deploy.dashboards.frame import Section
from deploy.dashboards.links import Runbook
from deploy.dashboards.panels import CALM, WARNING, AnyPanel, Query, graph, timeline
from deploy.dashboards.selection import Selection
from service.monitoring import catalogue

_ALL = Selection(by="", versions=True)


def drift(selection: Selection) -> Section:
    """Evidence, size, and what training has not seen; every line is one feature."""
    by_feature = replace(selection, by="feature")
    return Section(
        "Drift of what the model is asked",
        [
            _evidence(by_feature),
            _standing(by_feature),
            _stability(by_feature),
            _unseen(by_feature),
        ],
    )


def _evidence(selection: Selection) -> AnyPanel:
    return graph(
        "Evidence by feature",
        "Logarithm of how much better a change of its mix explains the requests than none. A "
        "feature has drifted at the dashed line. It is no drift of the model: inputs may move "
        "without the answers moving.",
        "short",
        Query(selection.served(catalogue.FEATURE_DRIFT_LOG_EVIDENCE), "{{feature}}"),
        Query(_ALL.greatest(catalogue.FEATURE_DRIFT_LOG_EVIDENCE_THRESHOLD), "threshold", "limit"),
        width=12,
        runbook=Runbook.FEATURES,
    )


def _standing(selection: Selection) -> AnyPanel:
    return timeline(
        "Features that have drifted",
        "Since when which feature's mix is not the baseline's; until the evidence has been low for "
        "a quarter of an hour.",
        Query(selection.served(catalogue.FEATURE_DRIFT_ACTIVE), "{{feature}}"),
        states={0: ("none", CALM), 1: ("drift", WARNING)},
        width=12,
        runbook=Runbook.FEATURES,
    )


def _stability(selection: Selection) -> AnyPanel:
    return graph(
        "Population stability index",
        "How far the mix of the drift window is from the baseline's at the same hours of the day. "
        "By a rule of thumb 0.1 is little and 0.25 is much; with few requests it is noise.",
        "short",
        Query(selection.served(catalogue.FEATURE_PSI), "{{feature}}"),
        width=12,
        runbook=Runbook.FEATURES,
    )


def _unseen(selection: Selection) -> AnyPanel:
    return graph(
        "Not seen in training, beside the baseline",
        "Share of the drift window's requests whose user, ad, device or placement training had "
        "not seen; dashed, that of the baseline at the same hours of the day.",
        "percentunit",
        Query(selection.served(catalogue.FEATURE_UNSEEN), "{{feature}}"),
        Query(
            selection.served(catalogue.BASELINE_FEATURE_UNSEEN),
            "{{feature}}, baseline",
            "reference",
        ),
        width=12,
        runbook=Runbook.FEATURES,
    )
