"""The configuration of Prometheus itself."""

from collections.abc import Sequence
from typing import Any

from deploy.alerting.durations import duration
from deploy.alerting.pace import Pace
from deploy.alerting.selectors import JOB


def prometheus_config(
    pace: Pace, *, targets: Sequence[str], alertmanagers: Sequence[str]
) -> dict[str, Any]:
    """Scrape the service, evaluate the rules, tell Alertmanager.

    Args:
        pace: How often.
        targets: ``host:port`` of every replica, never of a load balancer before them.
        alertmanagers: ``host:port`` of each.
    """
    return {
        "global": {
            "scrape_interval": duration(pace.scrape_seconds),
            "evaluation_interval": duration(pace.evaluation_seconds),
        },
        "rule_files": ["rules/*.yml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": list(alertmanagers)}]}]},
        "scrape_configs": [{"job_name": JOB, "static_configs": [{"targets": list(targets)}]}],
    }
