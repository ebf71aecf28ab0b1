"""Whose numbers an answer gives: this instance's, or the fleet's."""

import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from fastapi import Query
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field

from service.monitoring.monitor import Monitor
from service.sources.history_source import HistorySource
from service.sources.quality_watch import QualityWatch
from service.sources.watches import Watches


class ScopeName(StrEnum):
    """Whose counters."""

    INSTANCE = "instance"
    FLEET = "fleet"


ScopeQuery = Annotated[
    ScopeName | None,
    Query(description="By default the fleet where Prometheus is the source, else this instance."),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The parts that answer for one scope."""

    name: ScopeName
    source: HistorySource
    interval_seconds: float
    """Between two stored snapshots."""
    monitor: Monitor
    quality: QualityWatch
    watches: Watches | None
    """None where drift, features and the experiment are judged for the fleet."""


class Scopes:
    """The scopes that this service answers for; the last one by default."""

    def __init__(self, *scopes: Scope) -> None:
        self._scopes = {scope.name: scope for scope in scopes}
        self._default = scopes[-1]

    def of(self, name: ScopeName | None) -> Scope:
        """Give a scope.

        Raises:
            RequestValidationError: It is not configured.
        """
        if name is None:
            return self._default
        if name not in self._scopes:
            raise _refused("there is no fleet here; set CTR_MONITORING_SOURCE=prometheus")
        return self._scopes[name]

    def judged(self, name: ScopeName | None) -> tuple[Scope, Watches]:
        """Give a scope, and what judges drift, features and the experiment there.

        Raises:
            RequestValidationError: It is not configured, or these are not judged there.
        """
        scope = self.of(name)
        if scope.watches is None:
            raise _refused("this is judged for the fleet; ask for scope=fleet")
        return scope, scope.watches


class ScopeBody(BaseModel):
    """Whose numbers an answer gives, and how fresh they are."""

    scope: ScopeName
    replicas_seen: Annotated[int, Field(description="Instances that these numbers are the sum of.")]
    staleness_seconds: Annotated[float, Field(description="Age of the newest reading.")]


def staleness(end: float) -> float:
    """Seconds since ``end``, in Unix seconds; the clocks of two hosts may differ a little."""
    return max(time.time() - end, 0.0)


def _refused(message: str) -> RequestValidationError:
    return RequestValidationError([{"type": "scope", "loc": ("query", "scope"), "msg": message}])
