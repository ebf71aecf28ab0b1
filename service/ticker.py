"""The clock: at every tick one worker of the host stores a snapshot and judges the models.

Every worker runs a ticker; the one that holds the lease does the work. When it dies, its lease runs
out and another worker's next tick takes over.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from service.monitoring.history import Tick
from service.monitoring.monitor import HealthReport, Monitor
from service.sampling import Sampling
from service.sources.active_baselines import ActiveBaselines
from service.sources.errors import SourceUnavailableError
from service.sources.verdicts import StoredVerdicts
from service.sources.watches import Sights
from service.state.baselines import BaselineRevision
from service.state.errors import StateError, StateUnavailableError
from service.state.leases import Leases
from service.telemetry.errors import CountersUnavailableError
from service.telemetry.judgements import JudgementGauges

LEASE_TICKS = 1.5
"""A lease outlives its renewal by half a tick: a dead holder is replaced within two."""
_SECONDS_PER_MINUTE = 60

_LOGGER = logging.getLogger(__name__)


class Judges(Protocol):
    """Everything that is judged besides health."""

    def advance(self, row: Tick) -> Sights:
        """Fold in what is new at a tick."""

    def sights(self, boundary: float) -> Sights:
        """Say what was concluded last, whoever did the work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What one tick concluded."""

    health: HealthReport | None
    """None where another scope is judged."""
    sights: Sights
    stored_at: float | None
    """When the newest snapshot was taken, in Unix seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TickJob:
    """The work of one tick; it blocks, and does nothing without the lease."""

    collect: Callable[[float], Sequence[Tick]]
    """Takes and stores the snapshots that are due at a boundary; gives them, oldest first."""
    verdicts: StoredVerdicts
    leases: Leases
    lease: str
    holder: str
    """Unique to this worker's life."""
    interval_seconds: float
    housekeeping: Callable[[float], None]
    """Drops what no window needs any more; told the present in Unix seconds, once a minute."""
    monitor: Monitor | None
    """Judges health; None where another scope is judged."""
    watches: Judges | None = None
    """Judges everything else; None where another scope is judged."""
    shared: bool = False
    """Whether those without the lease show what its holder concluded."""
    clock: Callable[[], float] = time.time

    def __call__(self, boundary: float) -> Judgement | None:
        """Do the work of the tick at ``boundary``, in Unix seconds.

        Returns:
            None without the lease, unless the judgement is shared.

        Raises:
            StateUnavailableError: The state store does not answer; the next tick tries again.
            CountersUnavailableError: The counters cannot be read; the next tick tries again.
            SourceUnavailableError: Prometheus does not answer; the next tick tries again.
        """
        ttl = LEASE_TICKS * self.interval_seconds
        if not self.leases.acquire_or_renew(self.lease, self.holder, self.clock(), ttl):
            return self._shared(boundary) if self.shared else None
        ticks = self.collect(boundary)
        # Of several that are made up for the last one is shown.
        seen = [Sights() if self.watches is None else self.watches.advance(row) for row in ticks]
        if boundary % _SECONDS_PER_MINUTE == 0:
            self.housekeeping(self.clock())
        if not ticks:
            return None
        newest = ticks[-1].snapshot
        report = None if self.monitor is None else self.monitor.health_at(newest)
        if report is not None:
            self.verdicts.remember(report.models)
        return Judgement(health=report, sights=seen[-1], stored_at=newest.at)

    def _shared(self, boundary: float) -> Judgement:
        return Judgement(
            health=None if self.monitor is None else self.monitor.health(),
            sights=Sights() if self.watches is None else self.watches.sights(boundary),
            stored_at=None,
        )

    def stop(self) -> None:
        """Let another worker take over at once."""
        self.leases.release(self.lease, self.holder)


class Ticker:
    """Runs the ticks of one worker on its event loop."""

    def __init__(
        self,
        *,
        job: TickJob,
        gauges: JudgementGauges,
        baselines: ActiveBaselines,
        sampling: Sampling | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._job = job
        self._gauges = gauges
        self._baselines = baselines
        self._sampling = sampling
        self._clock = clock
        self._sleep = sleep
        self._failing = False
        # One thread of its own, so that stopping can wait for what it is doing.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tick")

    def stop(self) -> None:
        """Finish the tick that is running, then let another worker take over at once; blocks."""
        self._thread.shutdown()
        with suppress(StateError):
            if self._sampling is not None:
                self._sampling.collect_rest()
                self._sampling.store()
            self._job.stop()

    async def run(self) -> None:
        """Tick at every multiple of the interval until cancelled."""
        interval = self._job.interval_seconds
        while True:
            now = self._clock()
            boundary = (math.floor(now / interval) + 1) * interval
            await self._sleep(boundary - now)
            # The sleep may end a moment early, and the clock may have been set back meanwhile.
            if self._clock() >= boundary:
                await self._run_one(boundary)

    async def _run_one(self, boundary: float) -> None:
        try:
            loop = asyncio.get_running_loop()
            if self._sampling is not None:
                self._sampling.collect(self._clock())
                await loop.run_in_executor(self._thread, self._sampling.store)
            judgement = await loop.run_in_executor(self._thread, self._job, boundary)
            if judgement is not None:
                active = await loop.run_in_executor(self._thread, self._baselines.all)
                # Back on the loop: the metrics files have one writer.
                self._show(judgement, active)
        except (StateUnavailableError, CountersUnavailableError, SourceUnavailableError) as problem:
            if not self._failing:
                _LOGGER.warning("the history stands still; predictions go on: %s", problem)
            self._failing = True
        except Exception:
            # Whatever fails, the clock goes on. Once a streak: an hour is one line, not 720.
            if not self._failing:
                _LOGGER.exception("the history stands still; predictions go on")
            self._failing = True
        else:
            if self._failing:
                _LOGGER.info("the history goes on")
            self._failing = False

    def _show(self, judgement: Judgement, active: Sequence[BaselineRevision]) -> None:
        health = judgement.health
        if health is not None:
            for model in health.models:
                self._gauges.show_health(model.model_name, model.status)
            if health.bridge is not None:
                self._gauges.show_bridge(health.bridge)
        self._show_sights(judgement.sights)
        for revision in active:
            self._gauges.show_baseline(revision.baseline)
        if judgement.stored_at is not None:
            self._gauges.show_snapshot_stored(judgement.stored_at)
        self._gauges.flush()

    def _show_sights(self, sights: Sights) -> None:
        for sight in sights.drift:
            self._gauges.show_drift(
                sight.report.model_name,
                sight.version,
                log_evidence=sight.log_evidence,
                standing=[drift.kind for drift in sight.report.drifts],
            )
        for version, quality in sights.quality.items():
            self._gauges.show_quality(version, quality)
        for asked in sights.features:
            self._gauges.show_features(asked.model, asked.version, asked.features)
        if sights.experiment is not None:
            self._gauges.show_experiment(sights.experiment)
