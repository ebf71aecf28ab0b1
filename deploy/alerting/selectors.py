"""Which series are meant."""

from service.monitoring.catalogue import Metric

JOB = "ctr"
"""Prometheus's name for the service."""


def series(metric: Metric, **labels: str) -> str:
    """Select the series of the job, such as ``ctr_health_status{job="ctr"}``."""
    return named(metric.name, **labels)


def named(name: str, **labels: str) -> str:
    """Select the series of the job by name."""
    matchers = ", ".join(f'{label}="{value}"' for label, value in {"job": JOB, **labels}.items())
    return f"{name}{{{matchers}}}"
