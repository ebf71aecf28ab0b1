"""The questions that users ask, answered from one reading of the counters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from service.monitoring.bridge_status import BridgeStatus
from service.monitoring.counts import Extremes, counts_by_model
from service.monitoring.drift.report import DriftReport
from service.monitoring.health import (
    Decided,
    HealthPolicy,
    HealthStatus,
    ModelHealth,
    judge,
    overall,
)
from service.monitoring.snapshot import Snapshot
from service.monitoring.statistics import SECONDS_PER_MINUTE, ModelStatistics, per_minute
from service.monitoring.versions import served_versions, shown
from service.monitoring.window import Window, since_counters_began


class Source(Protocol):
    """Where snapshots and windows come from.

    Every method raises an error of the source's own when the source does not answer.
    """

    def snapshot(self) -> Snapshot:
        """Read the counters now."""

    def window(self, seconds: float, *, until: Snapshot) -> Window:
        """Give the window that ends with ``until``.

        It begins with the reading nearest before the wanted start or, where the history does
        not reach so far back, with the first one; its own ``start`` says which.
        """


class Verdicts(Protocol):
    """What health checks said when they last had enough data."""

    def load(self) -> Mapping[str, Decided]:
        """Give the last decided status by model and check."""


class DriftReports(Protocol):
    """What drift detection says."""

    def reports(self, now: Snapshot) -> Mapping[str, DriftReport]:
        """Describe the drift of every model that is served."""


class BridgeStatusSource(Protocol):
    """What the bridge to MLflow says of itself."""

    def load(self) -> BridgeStatus | None:
        """Give what it said last; None where none ever spoke."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthReport:
    """The health of all models at one instant."""

    status: HealthStatus
    models: Sequence[ModelHealth]
    requests_per_minute: Mapping[str, float]
    """Over the last minute, by model."""
    window: Window
    """The span that the checks looked at."""
    bridge: BridgeStatus | None
    """How the writing of the history goes; None where no bridge ever spoke."""

    @property
    def alerts(self) -> Sequence[str]:
        """A sentence for everything that is not well."""
        found = [alert for health in self.models for alert in health.alerts]
        late = "" if self.bridge is None else self.bridge.alert(self.window.end)
        return [*found, late] if late else found


class Monitor:
    """Statistics and health of the models that are served."""

    def __init__(
        self,
        *,
        source: Source,
        verdicts: Verdicts,
        policy: HealthPolicy,
        health_window_seconds: float,
        drift: DriftReports | None = None,
        bridge: BridgeStatusSource | None = None,
    ) -> None:
        self._source = source
        self._verdicts = verdicts
        self._policy = policy
        self._health_window_seconds = health_window_seconds
        self._drift = drift
        self._bridge = bridge

    def statistics(self, window_seconds: float | None) -> Sequence[ModelStatistics]:
        """Compute the statistics of every model.

        Args:
            window_seconds: How far back; None for everything since the counters began, of the
                versions that are shown.
        """
        now = self._source.snapshot()
        window = (
            since_counters_began(replace(now, counters=shown(now.counters, now.gauges)))
            if window_seconds is None
            else self._source.window(window_seconds, until=now)
        )
        rates = self._requests_per_minute(now)
        return [
            ModelStatistics.of(
                model,
                counts,
                extremes=Extremes.of(model, now.gauges) if window_seconds is None else None,
                requests_per_minute=rates.get(model, 0.0),
                window=window,
            )
            for model, counts in counts_by_model(window.increases).items()
        ]

    def health(self) -> HealthReport:
        """Put every check to every model."""
        return self.health_at(self._source.snapshot())

    def health_at(self, now: Snapshot) -> HealthReport:
        """Put every check to every model as of one snapshot."""
        window = self._source.window(self._health_window_seconds, until=now)
        decided = self._verdicts.load()
        drift = {} if self._drift is None else self._drift.reports(now)
        served = {version.model for version in served_versions(now.gauges)}
        models = [
            judge(
                model,
                counts,
                policy=self._policy,
                decided=decided.get(model, {}),
                drift=drift.get(model),
            )
            for model, counts in counts_by_model(window.increases).items()
            # What is served no longer keeps its counters; how it was is over. Readings of before
            # anybody said what is served leave nothing out.
            if not served or model in served
        ]
        bridge = None if self._bridge is None else self._bridge.load()
        late = bridge is not None and bool(bridge.alert(now.at))
        return HealthReport(
            status=overall(models, others_warn=late),
            bridge=bridge,
            models=models,
            requests_per_minute=self._requests_per_minute(now),
            window=window,
        )

    def _requests_per_minute(self, now: Snapshot) -> Mapping[str, float]:
        last_minute = self._source.window(SECONDS_PER_MINUTE, until=now)
        return {
            model: per_minute(counts.requests, last_minute.seconds)
            for model, counts in counts_by_model(last_minute.increases).items()
        }
