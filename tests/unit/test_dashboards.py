"""The dashboards are what the code says, follow Grafana's linter, and use what the service has.

The rules named ``..._rule`` are those of https://github.com/grafana/dashboard-linter.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dashboard_verifier as verifier
import pytest

from deploy.dashboards import limits
from deploy.dashboards.__main__ import FOLDER, dashboards, stale_files
from deploy.dashboards.links import Runbook
from service.monitoring import catalogue

ROOT = Path(__file__).parents[2]
Content = Mapping[str, Any]
DASHBOARDS = verifier.load()
TARGETS = [t for name, content in DASHBOARDS.items() for t in verifier.targets(name, content)]
PANELS = [
    panel
    for content in DASHBOARDS.values()
    for panel in content["panels"]
    if panel["type"] != "row"
]
ASKING = [panel for panel in PANELS if panel["type"] != "text"]
"""Panels with queries."""
OF_PROMETHEUS = {"up", "scrape_duration_seconds"}
UNUSED: Mapping[str, str] = {
    catalogue.MODEL_EVALUATOR.name: "for those who look into a slow model; the log has the reason",
    catalogue.PREDICTION_NEGATIVE_LOG_COMPLEMENT.name: "a part of the quality that REST gives",
    catalogue.CLICKED_NEGATIVE_LOG.name: "a part of the quality that REST gives",
    catalogue.CLICKED_NEGATIVE_LOG_COMPLEMENT.name: "a part of the quality that REST gives",
    catalogue.CLICKED_PREDICTION.name: "a part of the quality that REST gives",
    catalogue.ASSIGNED_PREDICTIONS.name: "a part of the comparison that REST gives",
    catalogue.FEEDBACK_EVENTS.name: "for those who look into a client's clicks",
    catalogue.SHADOW_PREDICTIONS.name: "a part of what REST says of shadow models",
    catalogue.SHADOW_PREDICTION.name: "a part of what REST says of shadow models",
    catalogue.SHADOW_PREDICTION_SQUARED.name: "a part of what REST says of shadow models",
    catalogue.SHADOW_ANSWERED.name: "a part of what REST says of shadow models",
    catalogue.SHADOW_DIFFERENCE_SQUARED.name: "a part of what REST says of shadow models",
}
"""Metrics that are on no panel, with the reason."""
OF_THE_SHOWN_PERIOD = {"Models side by side", "Click-through rate"}
"""Panels of one figure for all that the dashboard shows: ``$__range`` is what they mean."""
every_dashboard = pytest.mark.parametrize("name", DASHBOARDS)


def variables(name: str) -> dict[str, Content]:
    return {v["name"]: v for v in DASHBOARDS[name]["templating"]["list"]}


def test_the_committed_dashboards_are_what_the_code_says() -> None:
    assert stale_files(FOLDER) == []


def test_a_change_by_hand_a_missing_file_and_a_strange_one_are_noticed(tmp_path: Path) -> None:
    for name, content in dashboards().items():
        (tmp_path / name).write_text(content)
    assert stale_files(tmp_path) == []

    (tmp_path / "model.json").unlink()
    (tmp_path / "overview.json").write_text("{}\n")
    (tmp_path / "by_hand.json").write_text("{}\n")

    assert stale_files(tmp_path) == ["by_hand.json", "model.json", "overview.json"]


@every_dashboard
def test_template_datasource_rule(name: str) -> None:
    sources = [v for v in variables(name).values() if v["type"] == "datasource"]

    assert [(v["name"], v["label"], v["query"]) for v in sources] == [
        ("datasource", "Data source", "prometheus")
    ]


@every_dashboard
@pytest.mark.parametrize(("variable", "label"), [("job", "Job"), ("instance", "Instance")])
def test_template_job_and_instance_rules(name: str, variable: str, label: str) -> None:
    found = variables(name)[variable]

    assert found["type"] == "query"
    assert found["label"] == label
    assert found["datasource"]["uid"] == "${datasource}"
    assert found["multi"] is True
    assert found["includeAll"] is True
    assert found["allValue"] == ".+"


@every_dashboard
def test_template_on_time_change_reload_rule(name: str) -> None:
    asked = [v for v in variables(name).values() if v["type"] == "query"]

    assert {v["refresh"] for v in asked} == {2}


@every_dashboard
def test_a_variable_has_no_field_of_another_kind(name: str) -> None:
    for variable in variables(name).values():
        assert not variable.keys() & {"auto", "auto_count", "auto_min"}


@every_dashboard
def test_a_model_can_be_chosen(name: str) -> None:
    model = variables(name)["model"]

    assert model["type"] == "query"
    if name == "model.json":
        assert not model.get("multi")
        assert variables(name)["version"]["allValue"] == ".+"
    else:
        assert model["multi"] is True
        assert model["allValue"] == ".+"


def test_panel_datasource_rule() -> None:
    for panel in ASKING:
        for asked in (panel, *panel["targets"]):
            assert asked["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_panel_title_description_rule() -> None:
    for panel in PANELS:
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]


def test_panel_units_rule() -> None:
    units = {panel["fieldConfig"]["defaults"]["unit"] for panel in ASKING}

    assert units == {"short", "none", "percentunit", "reqps", "cps", "s"}


def test_a_duration_is_shown_as_seconds_and_a_share_of_requests_as_percent() -> None:
    for panel in ASKING:
        unit = panel["fieldConfig"]["defaults"]["unit"]
        expressions = [target["expr"] for target in panel["targets"]]
        if panel["type"] in {"table", "heatmap"}:
            continue  # their units are those of columns and axes
        if all("duration_seconds" in expression for expression in expressions):
            assert unit == "s", panel["title"]
        if any('outcome="error"' in expression for expression in expressions):
            assert unit == "percentunit", panel["title"]
        if any("ctr_baseline_prediction" in expression for expression in expressions):
            assert unit == "percentunit", panel["title"]


def test_target_rate_interval_rule() -> None:
    for target in TARGETS:
        expected = {"$__range"} if target.title in OF_THE_SHOWN_PERIOD else {"$__rate_interval"}

        assert set(re.findall(r"\[(.*?)\]", target.expression)) <= expected


def test_target_counter_aggregation_rule() -> None:
    for target in TARGETS:
        for found in re.finditer(r"\w+_(total|sum|count|bucket)\{", target.expression):
            before = target.expression[: found.start()]
            assert before.endswith(("rate(", "increase(")), target.expression


def test_target_job_and_instance_rules() -> None:
    for target in TARGETS:
        selectors = re.findall(r"\w\{(.*?)\}", target.expression)
        assert selectors
        for selector in selectors:
            assert 'job=~"$job", instance=~"$instance"' in selector


def test_a_metric_of_a_model_is_asked_for_the_chosen_models() -> None:
    for target in TARGETS:
        for name, selector in re.findall(r"\b(\w+)\{(.*?)\}", target.expression):
            labels = known_metrics().get(name, ())
            assert ("model" in labels) == ('model=~"$model"' in selector)
            of_version = target.dashboard == "model.json" and "version" in labels
            if target.title not in OF_THE_SHOWN_PERIOD:
                assert of_version == ('version=~"$version"' in selector)


@every_dashboard
def test_uneditable_dashboard_rule(name: str) -> None:
    assert DASHBOARDS[name]["editable"] is False


@every_dashboard
def test_a_dashboard_shares_its_crosshair_is_in_utc_and_has_the_old_schema(name: str) -> None:
    content = DASHBOARDS[name]

    assert content["graphTooltip"] == 1
    assert content["timezone"] == "utc"
    assert content["schemaVersion"] == 41


def test_a_dashboard_keeps_its_address() -> None:
    assert {name: content["uid"] for name, content in DASHBOARDS.items()} == {
        "overview.json": "ctr-overview",
        "model.json": "ctr-model",
        "comparison.json": "ctr-comparison",
    }


@every_dashboard
def test_panels_and_rows_have_numbers_of_their_own_and_no_place_is_taken_twice(name: str) -> None:
    panels = DASHBOARDS[name]["panels"]
    numbers = [panel["id"] for panel in panels]
    taken = [cell for panel in panels for cell in cells(panel["gridPos"])]

    assert len(set(numbers)) == len(numbers)
    assert 0 not in numbers
    assert len(set(taken)) == len(taken)
    assert max(x for x, _ in taken) < 24


def cells(place: Mapping[str, int]) -> Iterator[tuple[int, int]]:
    for x in range(place["w"]):
        for y in range(place["h"]):
            yield place.get("x", 0) + x, place.get("y", 0) + y


def known_metrics() -> dict[str, tuple[str, ...]]:
    """Labels by name, as Prometheus sees them."""
    found: dict[str, tuple[str, ...]] = {}
    for metric in catalogue.CATALOGUE:
        parts = ("_bucket", "_sum", "_count") if metric.bounds else ("",)
        found |= {metric.name + part: metric.labels for part in parts}
    return found


def test_every_metric_that_is_used_exists() -> None:
    used = set().union(*(target.metrics for target in TARGETS))

    assert used - known_metrics().keys() == OF_PROMETHEUS


def test_every_metric_that_exists_is_used_or_left_out_for_a_reason() -> None:
    used = set().union(*(target.metrics for target in TARGETS))
    left_out = {
        metric.name
        for metric in catalogue.CATALOGUE
        if not any(name.startswith(metric.name) for name in used)
    }

    assert left_out == UNUSED.keys()
    assert all(UNUSED.values())


def test_a_legend_names_labels_that_the_query_keeps() -> None:
    for target in TARGETS:
        kept = set(re.findall(r"\w+", " ".join(re.findall(r"by \((.*?)\)", target.expression))))

        assert set(re.findall(r"\{\{(\w+)\}\}", target.legend)) <= kept


def test_no_two_queries_of_a_panel_have_one_legend() -> None:
    for panel in ASKING:
        legends = [target["legendFormat"] for target in panel["targets"]]
        if panel["type"] != "table":
            assert len(set(legends)) == len(legends), panel["title"]


def steps(content: Content, title: str) -> list[float]:
    [panel] = [p for p in content["panels"] if p["title"] == title]
    return [
        step["value"]
        for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        if step["value"] is not None
    ]


def test_thresholds_are_those_of_health_and_drift() -> None:
    content = DASHBOARDS["overview.json"]

    assert steps(content, "Error rate by model") == [limits.ERROR_RATIO] == [0.05]
    assert steps(content, "Mean latency by model") == [limits.LATENCY_SECONDS] == [1.0]
    assert steps(content, "Evidence of drift") == [limits.DRIFT_LOG_EVIDENCE]


def test_every_panel_with_a_limit_says_what_to_do() -> None:
    for content in DASHBOARDS.values():
        for panel in content["panels"]:
            if panel["title"] == "Unreadable metrics files":
                continue  # its description says it
            levels = panel.get("fieldConfig", {}).get("defaults", {}).get("thresholds", {})
            if len(levels.get("steps", [])) > 1:
                assert panel["links"], panel["title"]


def test_every_runbook_that_is_linked_is_there() -> None:
    folder = ROOT / "docs/runbooks"
    if folder.exists():  # they come with the alert rules
        assert {book.value for book in Runbook} <= {page.stem for page in folder.glob("*.md")}


def test_every_link_leads_to_a_variable_or_to_the_other_dashboards() -> None:
    for name, content in DASHBOARDS.items():
        assert {"mlflow", "runbooks"} <= variables(name).keys()
        links = content["links"] + [link for p in content["panels"] for link in p.get("links", [])]
        for link in links:
            assert link["type"] == "dashboards" or link["url"].startswith(
                ("${mlflow}", "${runbooks}")
            )


def test_what_grafana_reads_at_its_start_fits_together() -> None:
    provisioning = ROOT / "deploy/grafana/provisioning"
    source = (provisioning / "datasources/prometheus.yml").read_text()
    provider = (provisioning / "dashboards/ctr.yml").read_text()

    for line in ("uid: prometheus", "type: prometheus", "editable: false", "${PROMETHEUS_URL}"):
        assert line in source
    for line in ("path: /var/lib/grafana/dashboards", "type: file", "allowUiUpdates: false"):
        assert line in provider
    page = (ROOT / "docs/dashboards.md").read_text()
    assert "`/var/lib/grafana/dashboards`" in page
    for content in DASHBOARDS.values():
        assert content["title"] in page


def test_no_file_of_grafana_names_a_machine_or_a_password() -> None:
    for path in (ROOT / "deploy/grafana").rglob("*"):
        if path.is_file():
            assert not re.search(r"/(tmp|home|work|root)/|password|token", path.read_text())
