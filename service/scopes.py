"""Composes what monitors this instance and, with Prometheus as the source, the fleet."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from service.api.scopes import Scope, ScopeName, Scopes
from service.monitoring.experiment.state import Plan
from service.monitoring.history import History, Tick
from service.monitoring.monitor import Monitor
from service.prediction.prediction_id import origin_of
from service.settings import FLEET_SCOPE, Settings
from service.sources.active_baselines import ActiveBaselines
from service.sources.calibration_watch import CalibrationWatch
from service.sources.cohorts import Cohorts
from service.sources.drift_watch import DriftWatch
from service.sources.experiment_watch import ExperimentWatch
from service.sources.feature_watch import FeatureWatch
from service.sources.fleet import Fleet
from service.sources.history_source import HistorySource
from service.sources.local import local_source, store_now
from service.sources.quality_watch import QualityWatch
from service.sources.verdicts import StoredVerdicts
from service.sources.watches import Watches
from service.state.bridge_statuses import BridgeStatuses
from service.state.experiments import StoredExperiment
from service.state.sampled_windows import KEPT_SECONDS
from service.state.store import State
from service.telemetry.registry import FolderRegistry
from service.ticker import TickJob

if TYPE_CHECKING:
    from service.sources.prometheus_api import PrometheusApi

_FORGETTING_SECONDS = 3600.0
"""How much longer than they count clicks are remembered: clocks of replicas differ, and the first
window of the history begins before what the history reaches back to."""


class ScopeParts:
    """Builds the scopes of one worker over the same state."""

    def __init__(
        self,
        *,
        settings: Settings,
        state: State,
        baselines: ActiveBaselines,
        plan: Callable[[], Plan],
        holder: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._state = state
        self._baselines = baselines
        self._plan = plan
        self._holder = holder
        self._clock = clock
        self._api: PrometheusApi | None = None

    def build(self, registry: FolderRegistry) -> tuple[Scopes, Sequence[TickJob]]:
        """Give what answers, and the clock's work for it: this instance's first."""
        settings = self._settings
        history = self._state.history(settings.scope)
        source = local_source(registry, history, self._clock)
        alone = settings.monitoring_source == "local"
        instance = self._scope(
            ScopeName.INSTANCE,
            settings.scope,
            source,
            interval_seconds=settings.snapshot_interval,
            judges=alone,
        )
        job = self._job(
            instance,
            settings.scope,
            collect=partial(store_now, source, history),
            interval_seconds=settings.snapshot_interval,
            judges=alone,
        )
        if alone:
            return Scopes(instance), [job]
        # With httpx it is 4 MB of every worker; one that watches itself alone asks nobody.
        from service.sources.prometheus_api import PrometheusApi  # noqa: PLC0415 - see above

        self._api = PrometheusApi(settings.prometheus_url or "", settings.prometheus_selector)
        everywhere = self._state.history(FLEET_SCOPE)
        fleet = Fleet(
            api=self._api,
            history=everywhere,
            values=self._state.values,
            interval_seconds=settings.fleet_interval,
            clock=self._clock,
        )
        scope = self._scope(
            ScopeName.FLEET,
            FLEET_SCOPE,
            HistorySource(fleet.read, everywhere),
            interval_seconds=settings.fleet_interval,
            judges=True,
        )
        shared = self._job(
            scope,
            FLEET_SCOPE,
            collect=fleet.collect,
            interval_seconds=settings.fleet_interval,
            judges=True,
            shared=True,
        )
        return Scopes(instance, scope), [job, shared]

    def close(self) -> None:
        """Close the connections to sources."""
        if self._api is not None:
            self._api.close()

    def _scope(
        self,
        name: ScopeName,
        key: str,
        source: HistorySource,
        *,
        interval_seconds: float,
        judges: bool,
    ) -> Scope:
        settings, state = self._settings, self._state
        origin = origin_of(settings.instance) if name is ScopeName.INSTANCE else None
        cohorts = Cohorts(
            source=source,
            clicks=state.clicks,
            origin=origin,
            attribution_seconds=settings.attribution_window,
        )
        calibration = CalibrationWatch(
            values=state.values,
            scope=key,
            cohorts=cohorts,
            baselines=self._baselines,
            zone=settings.calibration_zone,
        )
        drift = DriftWatch(
            values=state.values,
            samples=state.drift_samples(key),
            scope=key,
            source=source,
            baselines=self._baselines,
            materiality=settings.materiality,
            thresholds=settings.drift_thresholds,
            calibration=calibration,
        )
        quality = QualityWatch(
            cohorts,
            window_seconds=settings.quality_window,
            attribution_seconds=settings.attribution_window,
            min_predictions=settings.min_predictions,
        )
        features = FeatureWatch(
            values=state.values,
            scope=key,
            source=source,
            baselines=self._baselines,
            window_seconds=settings.drift_window,
            min_predictions=settings.min_predictions,
        )
        experiment = ExperimentWatch(
            plan=self._plan,
            stored=StoredExperiment(state.values, key),
            source=source,
            clicks=state.clicks,
            origin=origin,
            attribution_seconds=settings.attribution_window,
            margin=settings.equivalence_margin,
        )
        watches = Watches(
            drift=drift,
            calibration=calibration,
            features=features,
            quality=quality,
            experiment=experiment,
            baselines=self._baselines,
            interval_seconds=interval_seconds,
        )
        writes_history = settings.bridge_enabled and key == settings.monitored_scope
        return Scope(
            name=name,
            source=source,
            interval_seconds=interval_seconds,
            quality=quality,
            watches=watches if judges else None,
            monitor=Monitor(
                source=source,
                verdicts=StoredVerdicts(state.values, key),
                policy=settings.health_policy,
                health_window_seconds=settings.health_window,
                drift=drift if judges else None,
                bridge=BridgeStatuses(state.values, key) if writes_history else None,
            ),
        )

    def _job(
        self,
        scope: Scope,
        key: str,
        *,
        collect: Callable[[float], Sequence[Tick]],
        interval_seconds: float,
        judges: bool,
        shared: bool = False,
    ) -> TickJob:
        return TickJob(
            collect=collect,
            monitor=scope.monitor if judges else None,
            watches=scope.watches,
            verdicts=StoredVerdicts(self._state.values, key),
            leases=self._state.leases,
            lease=f"ticker:{key}",
            holder=self._holder,
            interval_seconds=interval_seconds,
            housekeeping=partial(self._keep_house, key, self._state.history(key)),
            shared=shared,
            clock=self._clock,
        )

    def _keep_house(self, key: str, history: History, now: float) -> None:
        kept = self._settings.history
        history.thin(now, history_seconds=kept)
        self._state.drift_samples(key).thin(now, history_seconds=kept)
        self._state.clicks.forget_before(
            expired=now - self._settings.attribution_window - _FORGETTING_SECONDS,
            cohorts=now - kept - _FORGETTING_SECONDS,
        )
        self._state.sampled_windows(key).drop_before(now - KEPT_SECONDS)
