"""The rules say what the objectives, the catalogue and the documentation say."""

import re

import pytest
from markdown_tables import rows
from service_process import ROOT

from deploy.__main__ import main
from deploy.alerting.durations import duration, number
from deploy.alerting.files import rule_groups
from deploy.alerting.pace import PRODUCTION, REHEARSAL
from deploy.alerting.rules import RUNBOOKS, Alert, Record
from service.monitoring import objectives
from service.monitoring.bridge_status import BridgeStatus
from service.monitoring.catalogue import CATALOGUE
from service.monitoring.drift.budget import LOG_THRESHOLD
from service.monitoring.objectives import ServiceLevel
from service.settings import Settings

DOCS = ROOT / "docs"
RULES = [
    rule for groups in rule_groups(PRODUCTION).values() for group in groups for rule in group.rules
]
ALERTS = [rule for rule in RULES if isinstance(rule, Alert)]
RECORDS = [rule for rule in RULES if isinstance(rule, Record)]
NAMES = sorted({alert.name for alert in ALERTS})


def test_the_committed_files_are_what_the_code_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0, capsys.readouterr().err


def test_every_metric_in_a_rule_exists() -> None:
    exposed = {metric.name for metric in CATALOGUE} | {
        f"{metric.name}_{part}"
        for metric in CATALOGUE
        if metric.bounds
        for part in ("bucket", "sum", "count")
    }
    used = {name for rule in RULES for name in re.findall(r"(?<!:)\bctr_\w+", rule.expr)}

    assert used <= exposed


def test_every_recorded_name_is_recorded_used_and_well_formed() -> None:
    recorded = {record.record for record in RECORDS}
    used = {name for rule in RULES for name in re.findall(r"\w+:\w+:\w+", rule.expr)}

    assert used == recorded
    assert all(re.fullmatch(r"[a-z_]+:ctr_[a-z_]+:[a-z_0-9]+", name) for name in recorded)


def test_every_alert_says_what_and_how_much() -> None:
    for alert in ALERTS:
        assert alert.summary
        assert "$value" in alert.description
        assert alert.as_yaml()["annotations"]["runbook_url"] == f"{RUNBOOKS}/{alert.name}.md"


def test_every_alert_has_its_runbook_and_every_runbook_its_alert() -> None:
    assert sorted(path.stem for path in (ROOT / RUNBOOKS).glob("*.md")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_runbook_answers_the_four_questions(name: str) -> None:
    page = (ROOT / RUNBOOKS / f"{name}.md").read_text()
    parts = ["Meaning", "Impact", "Diagnosis", "Mitigation"]

    assert re.findall(r"^#+ (.+)$", page, re.MULTILINE) == [name, *parts]
    assert "`" in page.partition("## Diagnosis")[2]


def test_the_rules_of_a_rehearsal_are_the_same_alerts() -> None:
    rehearsed = {
        rule.name
        for groups in rule_groups(REHEARSAL).values()
        for group in groups
        for rule in group.rules
        if isinstance(rule, Alert)
    }

    assert rehearsed == set(NAMES)


def test_the_thresholds_are_those_of_the_service() -> None:
    expressions = {alert.name: alert.expr for alert in ALERTS}

    [evidence] = re.findall(r">= ([\d.]{4,})", expressions["CtrDriftPersists"])
    assert float(evidence) == LOG_THRESHOLD
    settings = Settings()
    assert settings.error_rate_threshold == objectives.ERROR_RATE.limit == 5
    assert settings.latency_threshold_ms == objectives.AVERAGE_LATENCY.limit == 1000
    assert expressions["CtrBridgeBehind"].endswith("> 900")
    assert expressions["CtrBridgeNotRunning"].endswith("> 30")


@pytest.mark.parametrize(
    ("silent_for", "lag", "alerts"), [(30.0, 900.0, False), (30.5, 0.0, True), (0.0, 901.0, True)]
)
def test_the_bridge_warns_where_the_rules_do(
    silent_for: float, lag: float, *, alerts: bool
) -> None:
    status = BridgeStatus(at=1000.0, store="here", lag_seconds=lag)

    assert bool(status.alert(1000.0 + silent_for)) is alerts


def test_an_objective_for_latency_needs_a_bound_of_the_histogram() -> None:
    with pytest.raises(ValueError, match=r"0\.3 s is not a bound"):
        ServiceLevel(name="slow", target_percent=99, meaning="", bound_seconds=0.3)


def test_the_page_lists_the_objectives() -> None:
    assert rows(DOCS / "alerting.md", "service level") == [
        [level.name, f"{number(level.target_percent)} %", level.meaning]
        for level in objectives.SERVICE_LEVELS
    ]
    assert rows(DOCS / "alerting.md", "objective") == [
        [objective.name, f"{objective.limit:.6g}", objective.unit, objective.meaning]
        for objective in objectives.OBJECTIVES
    ]


def test_the_page_lists_the_alerts_and_the_windows() -> None:
    listed = rows(DOCS / "alerting.md", "alert")

    assert sorted(re.findall(r"\[(\w+)\]", " ".join(name for name, *_ in listed))) == NAMES
    for name, severities, _ in listed:
        found = {str(alert.severity) for alert in ALERTS if f"[{alert.name}]" in name}
        assert set(severities.split(", ")) == found
    assert rows(DOCS / "alerting.md", "speed") == [
        [
            number(window.factor),
            duration(window.long_seconds),
            duration(window.short_seconds),
            duration(window.hold_seconds),
            str(window.severity),
        ]
        for window in PRODUCTION.burn_windows
    ]


@pytest.mark.parametrize(
    ("seconds", "text"), [(1, "1s"), (90, "90s"), (300, "5m"), (86_400, "1d"), (5400, "90m")]
)
def test_durations_are_whole(seconds: int, text: str) -> None:
    assert duration(seconds) == text
