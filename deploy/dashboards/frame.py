"""What surrounds the panels of every dashboard, and the JSON that comes out."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders.dashboard import (
    AnnotationQuery,
    Dashboard,
    DashboardLink,
    QueryVariable,
    Row,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, DashboardLinkType

from deploy.dashboards import variables
from deploy.dashboards.panels import AnyPanel
from deploy.dashboards.selection import Selection
from service.monitoring.catalogue import BASELINE_PREDICTION_MEAN, COUNTERS_BEGAN, MODEL_INFO

_TAG = "ctr"


@dataclass(frozen=True, slots=True)
class Section:
    """Panels under one heading."""

    title: str
    panels: Sequence[AnyPanel]


def dashboard(
    uid: str,
    title: str,
    description: str,
    *chosen: QueryVariable,
    sections: Sequence[Section],
) -> Dashboard:
    """Put sections into the frame.

    Args:
        uid: Stable for ever: links and bookmarks contain it.
        title: Of the dashboard.
        description: What it answers.
        chosen: Variables that tell models apart, after data source, job and instance.
        sections: From top to bottom.
    """
    built = (
        Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([_TAG])
        .readonly()
        .time("now-1h", "now")
        .timezone("utc")
        .refresh("30s")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(
            DashboardLink("Dashboards")
            .type(DashboardLinkType.DASHBOARDS)
            .tags([_TAG])
            .as_dropdown(as_dropdown=True)
            .include_vars(include_vars=True)
            .keep_time(keep_time=True)
        )
        .link(_link("MLflow", "${mlflow}", "The history of days and weeks"))
        .link(_link("Runbooks", "${runbooks}", "What to do when something is wrong"))
        .with_variable(variables.datasource())
        .with_variable(variables.job())
        .with_variable(variables.instance())
    )
    for variable in chosen:
        built.with_variable(variable)
    built.with_variable(variables.mlflow()).with_variable(variables.runbooks())
    for annotation in _annotations():
        built.annotation(annotation)
    for section in sections:
        built.with_row(Row(section.title))
        for panel in section.panels:
            built.with_panel(panel)
    return built


def as_json(built: Dashboard) -> str:
    """Write a dashboard as Grafana reads it, with every panel and row numbered."""
    content = json.loads(json.dumps(built.build(), cls=JSONEncoder))
    # The SDK gives panels no number and every row the number 0.
    for number, panel in enumerate(content["panels"], start=1):
        panel["id"] = number
    # It gives every variable the fields of one about intervals, which Grafana's types do not know.
    for variable in content["templating"]["list"]:
        for field in ("auto", "auto_count", "auto_min"):
            variable.pop(field, None)
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


def _link(title: str, url: str, tooltip: str) -> DashboardLink:
    return (
        DashboardLink(title)
        .type(DashboardLinkType.LINK)
        .icon("external link")
        .url(url)
        .tooltip(tooltip)
        .target_blank(target_blank=True)
    )


def _annotations() -> list[AnnotationQuery]:
    selection = Selection()
    began, baseline = selection.series(COUNTERS_BEGAN), selection.series(BASELINE_PREDICTION_MEAN)
    served = selection.series(MODEL_INFO)
    return [
        _annotation("Alerts", "red", 'ALERTS{alertstate="firing", job=~"$job", model=~"$model|"}'),
        _annotation("Restarts", "blue", f"changes({began}[$__rate_interval]) > 0"),
        _annotation("Versions", "purple", f"{served} unless {served} offset 1m"),
        _annotation("Baselines", "yellow", f"changes({baseline}[$__rate_interval]) > 0"),
    ]


def _annotation(name: str, color: str, expression: str) -> AnnotationQuery:
    return (
        AnnotationQuery()
        .name(name)
        .datasource(variables.DATASOURCE)
        .enable(enable=True)
        .icon_color(color)
        .expr(expression)
    )
