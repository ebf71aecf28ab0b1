"""The clock: at every tick one worker of the host stores a snapshot and judges the models.

Every worker runs a ticker; the one that holds the lease does the work. When it dies, its lease runs
out and another worker's next tick takes over.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from service.monitoring.drift.ticks import TICK_SECONDS
from service.monitoring.history import History
from service.monitoring.monitor import HealthReport, Monitor
from service.sampling import Sampling
from service.sources.active_baselines import ActiveBaselines
from service.sources.drift_watch import DriftSight, DriftWatch
from service.sources.local import LocalSource
from service.sources.verdicts import StoredVerdicts
from service.state.errors import StateError
from service.state.leases import Leases
from service.telemetry.judgements import JudgementGauges

LEASE_TICKS = 1.5
"""A lease outlives its renewal by half a tick: a dead holder is replaced within two."""
_SECONDS_PER_MINUTE = 60

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What one tick concluded."""

    health: HealthReport
    drift: Sequence[DriftSight]
    """Of every model, at a tick of drift detection; else empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TickJob:
    """The work of one tick; it blocks, and does nothing without the lease."""

    source: LocalSource
    history: History
    monitor: Monitor
    verdicts: StoredVerdicts
    leases: Leases
    lease: str
    holder: str
    """Unique to this worker's life."""
    interval_seconds: float
    housekeeping: Callable[[float], None]
    """Drops what no window needs any more; told the present in Unix seconds, once a minute."""
    drift: DriftWatch | None = None
    """Judges drift at every tick of its own."""

    def __call__(self, boundary: float) -> Judgement | None:
        """Do the work of the tick at ``boundary``, in Unix seconds; None without the lease.

        Raises:
            StateUnavailableError: The state store does not answer; the next tick tries again.
        """
        now = self.source.snapshot()
        ttl = LEASE_TICKS * self.interval_seconds
        if not self.leases.acquire_or_renew(self.lease, self.holder, now.at, ttl):
            return None
        self.history.append(boundary, now)
        drift = (
            self.drift.advance(now)
            if self.drift is not None and boundary % TICK_SECONDS == 0
            else []
        )
        report = self.monitor.health_at(now)
        self.verdicts.remember(report.models)
        if boundary % _SECONDS_PER_MINUTE == 0:
            self.housekeeping(now.at)
        return Judgement(health=report, drift=drift)

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
        sampling: Sampling,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._job = job
        self._gauges = gauges
        self._baselines = baselines
        self._sampling = sampling
        self._clock = clock
        self._failing = False
        # One thread of its own, so that stopping can wait for what it is doing.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tick")

    def stop(self) -> None:
        """Finish the tick that is running, then let another worker take over at once; blocks."""
        self._thread.shutdown()
        self._sampling.collect_rest()
        with suppress(StateError):
            self._sampling.store()
            self._job.stop()

    async def run(self) -> None:
        """Tick at every multiple of the interval until cancelled."""
        interval = self._job.interval_seconds
        while True:
            now = self._clock()
            boundary = (math.floor(now / interval) + 1) * interval
            await asyncio.sleep(boundary - now)
            # The sleep may end a moment early, and the clock may have been set back meanwhile.
            if self._clock() >= boundary:
                await self._run_one(boundary)

    async def _run_one(self, boundary: float) -> None:
        try:
            loop = asyncio.get_running_loop()
            self._sampling.collect(self._clock())
            await loop.run_in_executor(self._thread, self._sampling.store)
            judgement = await loop.run_in_executor(self._thread, self._job, boundary)
            if judgement is not None:
                active = await loop.run_in_executor(self._thread, self._baselines.all)
                # Back on the loop: the metrics files have one writer.
                for model in judgement.health.models:
                    self._gauges.show_health(model.model_name, model.status)
                for sight in judgement.drift:
                    self._gauges.show_drift(
                        sight.report.model_name,
                        sight.version,
                        log_evidence=sight.log_evidence,
                        standing=[drift.kind for drift in sight.report.drifts],
                    )
                for revision in active:
                    self._gauges.show_baseline(revision.baseline)
                if judgement.health.bridge is not None:
                    self._gauges.show_bridge(judgement.health.bridge)
                self._gauges.show_snapshot_stored(judgement.health.window.end)
                self._gauges.flush()
        except Exception:
            # Whatever fails, the clock goes on. Once a streak: an hour is one line, not 720.
            if not self._failing:
                _LOGGER.exception("the history stands still; predictions go on")
            self._failing = True
        else:
            if self._failing:
                _LOGGER.warning("the history goes on")
            self._failing = False
