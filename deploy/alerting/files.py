"""Everything that is generated, by path below ``deploy/prometheus``."""

from collections.abc import Mapping, Sequence

from deploy.alerting.burn_rate import INDICATORS, burn_groups
from deploy.alerting.conditions import (
    bridge_group,
    calibration_group,
    experiment_group,
    model_group,
    monitoring_group,
)
from deploy.alerting.pace import PRODUCTION, Pace
from deploy.alerting.prometheus import prometheus_config
from deploy.alerting.routing import (
    EMAIL,
    PAGES_ONLY,
    RETRAINING,
    SLACK,
    alertmanager_config,
)
from deploy.alerting.rules import Group
from deploy.alerting.yaml_text import yaml_text


def rule_groups(pace: Pace) -> Mapping[str, Sequence[Group]]:
    """Give the groups of each rule file, by its name."""
    return {
        **{f"{indicator.level.name}.yml": burn_groups(indicator, pace) for indicator in INDICATORS},
        "models.yml": [model_group(pace), calibration_group(), experiment_group()],
        "bridge.yml": [bridge_group(pace)],
        "monitoring.yml": [monitoring_group(pace)],
    }


def rule_files(pace: Pace) -> Mapping[str, str]:
    """Give the text of every rule file, by path."""
    return {
        f"rules/{name}": yaml_text({"groups": [group.as_yaml() for group in groups]})
        for name, groups in rule_groups(pace).items()
    }


def committed_files() -> Mapping[str, str]:
    """Give the text of every generated file, by path."""
    return {
        **rule_files(PRODUCTION),
        "prometheus.yml": yaml_text(
            prometheus_config(
                PRODUCTION, targets=["127.0.0.1:8000"], alertmanagers=["127.0.0.1:9093"]
            )
        ),
        # The names of the containers in docker-compose.yml.
        "prometheus.compose.yml": yaml_text(
            prometheus_config(
                PRODUCTION, targets=["service:8000"], alertmanagers=["alertmanager:9093"]
            )
        ),
        "alertmanager.yml": yaml_text(alertmanager_config(PAGES_ONLY)),
        "examples/alertmanager.slack.yml": yaml_text(alertmanager_config(SLACK)),
        "examples/alertmanager.email.yml": yaml_text(alertmanager_config(EMAIL)),
        "examples/alertmanager.retraining.yml": yaml_text(alertmanager_config(RETRAINING)),
    }
