"""Recording rules and alerts as values, and the form in which Prometheus reads them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from deploy.alerting.durations import duration

RUNBOOKS = "docs/runbooks"
"""Where people read the runbooks: a folder of this repository, or the URL at which you show it."""


class Severity(StrEnum):
    """Who must act, and when."""

    PAGE = "page"
    """Somebody, now: users are affected, or nobody would notice if they were."""
    TICKET = "ticket"
    """Somebody, in working hours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """An expression whose value is kept under a name, ``level:metric:operations``."""

    record: str
    expr: str
    labels: Mapping[str, str] = field(default_factory=dict)

    def as_yaml(self) -> dict[str, Any]:
        """Give what stands in a rule file."""
        labels = {"labels": dict(self.labels)} if self.labels else {}
        return {"record": self.record, "expr": self.expr, **labels}


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """A condition that somebody must know of."""

    name: str
    expr: str
    severity: Severity
    summary: str
    description: str
    hold_seconds: int = 0
    """The condition must hold for so long."""
    labels: Mapping[str, str] = field(default_factory=dict)

    def as_yaml(self) -> dict[str, Any]:
        """Give what stands in a rule file."""
        return {
            "alert": self.name,
            "expr": self.expr,
            **({"for": duration(self.hold_seconds)} if self.hold_seconds else {}),
            "labels": {"severity": str(self.severity), **self.labels},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": f"{RUNBOOKS}/{self.name}.md",
            },
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Rules that are evaluated one after the other, at the same instant."""

    name: str
    rules: Sequence[Record | Alert]
    interval_seconds: int | None = None
    """None: as often as all rules."""

    def as_yaml(self) -> dict[str, Any]:
        """Give what stands in a rule file."""
        interval = {"interval": duration(self.interval_seconds)} if self.interval_seconds else {}
        return {"name": self.name, **interval, "rules": [rule.as_yaml() for rule in self.rules]}
