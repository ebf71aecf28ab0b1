"""The bridge as a process: the composition root of this package."""

import logging
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bridge.filing import Filing
from bridge.freezing import Freezer
from bridge.lease import RENEWED_EVERY_SECONDS, BridgeLease
from bridge.mlflow_tracking import MlflowTracking
from bridge.releases import freeze_releases
from bridge.report import draw_in_own_process
from bridge.runs import RunNaming
from bridge.schedule import scheduler_of
from bridge.sending import Sender
from bridge.tracking import Tracking
from bridge.tracking_uri import TrackingStore, store_of
from service import __version__
from service.allocator import share_one_arena
from service.monitoring.bridge_status import BridgeStatus
from service.monitoring.mlflow_links import experiment_link
from service.monitoring.tracking import EntryKind
from service.prediction.experiment import DEFAULT_FILE, Experiment
from service.prediction.prediction_id import origin_of
from service.settings import FLEET_SCOPE, Settings
from service.sources.cohorts import Cohorts
from service.sources.quality_watch import QualityWatch
from service.sources.stored_windows import StoredWindows
from service.state.bridge_statuses import BridgeStatuses
from service.state.errors import StateError
from service.state.experiments import StoredExperiment
from service.state.store import State, open_state

_LOGGER = logging.getLogger(__name__)

_FREEZE_SECONDS = 2.0
_SEND_SECONDS = 1.0
_RELEASES_SECONDS = 15.0
_FILING_SECONDS = 5.0
_HOUSEKEEPING_SECONDS = 600.0
_KEPT_SECONDS = 7 * 86_400.0
_MOST_POINTS_WAITING = 2_000_000
_NICENESS = 10
_ANYTHING_BYTES = 1024


class Bridge:
    """The jobs of one bridge and what they share."""

    def __init__(
        self,
        settings: Settings,
        store: TrackingStore,
        state: State,
        *,
        tracking: Tracking | None = None,
        draw_report: Callable[[str], Path] = draw_in_own_process,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Compose.

        Args:
            settings: The service's.
            store: Where the history goes.
            state: What the service writes.
            tracking: Who writes it there; by default MLflow.
            draw_report: Draws the report of the run with this key, in a folder of its own.
            clock: Unix seconds.
            monotonic: Seconds of a clock that nobody sets.
        """
        self._store = store
        self._clock = clock
        self._window_seconds = settings.bridge_window
        self._history = state.history(settings.monitored_scope)
        self._outbox = state.outbox(settings.monitored_scope)
        self._statuses = BridgeStatuses(state.values, settings.monitored_scope)
        self._ui_url = settings.mlflow_ui
        self._models_dir = settings.models_dir
        self._dropped = 0
        self.lease = BridgeLease(
            state.leases,
            scope=settings.monitored_scope,
            holder=f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}",
            clock=clock,
            monotonic=monotonic,
        )
        self._tracking = tracking or MlflowTracking(store, settings.mlflow_experiment_name)
        self._freezer = Freezer(
            history=self._history,
            drift_samples=state.drift_samples(settings.monitored_scope),
            sampled_windows=state.sampled_windows(settings.monitored_scope),
            quality=QualityWatch(
                Cohorts(
                    source=StoredWindows(self._history),
                    clicks=state.clicks,
                    origin=None
                    if settings.monitored_scope == FLEET_SCOPE
                    else origin_of(settings.instance),
                    attribution_seconds=settings.attribution_window,
                ),
                window_seconds=settings.quality_window,
                attribution_seconds=settings.attribution_window,
                min_predictions=settings.min_predictions,
            ),
            samples_per_window=settings.samples_per_window,
            experiment=StoredExperiment(state.values, settings.monitored_scope),
            equivalence_margin=settings.equivalence_margin,
            outbox=self._outbox,
            naming=RunNaming(
                source=settings.monitored_scope,
                window_seconds=settings.bridge_window,
                experiment=_experiment_name(settings),
                service_version=__version__,
            ),
            health_policy=settings.health_policy,
            health_window_seconds=settings.health_window,
            grace_seconds=2 * settings.snapshot_interval,
        )
        self._sender = Sender(
            outbox=self._outbox,
            tracking=self._tracking,
            holds_lease=self.lease.is_held,
            clock=clock,
            monotonic=monotonic,
        )
        self._filing = Filing(
            outbox=self._outbox,
            tracking=self._tracking,
            holds_lease=self.lease.is_held,
            draw_report=draw_report,
            clock=clock,
            monotonic=monotonic,
        )

    @property
    def experiment_id(self) -> str | None:
        """In MLflow, once it was reached."""
        return self._tracking.experiment_id

    @property
    def problem(self) -> str:
        """Why nothing can be sent now; empty where it can."""
        return "" if self._sender.problem is None else str(self._sender.problem)

    def freeze(self) -> int:
        """Freeze what is due; returns the number of windows."""
        return self._freezer.freeze(self._clock()) if self.lease.is_held() else 0

    def send(self) -> int:
        """Send what waits; returns the number of points."""
        unknown = self.experiment_id is None
        sent = self._sender.send()
        if unknown and self.experiment_id is not None:
            link = experiment_link(self._ui_url, self.experiment_id)
            _LOGGER.info("the history in MLflow: %s", link)
        return sent

    def record_releases(self) -> int:
        """Put new model versions into the outbox; returns how many."""
        if not self.lease.is_held():
            return 0
        return freeze_releases(self._models_dir, self._outbox, at=self._clock())

    def file(self) -> int:
        """Send what comes with files; returns the number of entries."""
        store = self._sender.store
        return 0 if store is None else self._filing.file(store)

    def keep_lease(self) -> None:
        """Renew the lease and say how it goes."""
        if self.lease.renew():
            self._statuses.save(self._status(self._clock()))

    def keep_house(self) -> None:
        """Drop what was sent long ago, and samples where too much waits."""
        if self.lease.is_held():
            self._dropped += self._outbox.prune(
                self._clock(), kept_seconds=_KEPT_SECONDS, most_points=_MOST_POINTS_WAITING
            )

    def _status(self, now: float) -> BridgeStatus:
        backlog = self._outbox.backlog()
        span, frozen = self._history.span(), self._outbox.frozen_until()
        unfrozen = 0.0 if span is None else span[1] - (frozen or span[0]) - self._window_seconds
        unsent = 0.0 if backlog.oldest_frozen_at is None else now - backlog.oldest_frozen_at
        return BridgeStatus(
            at=now,
            store=self._store.name,
            experiment_id=self.experiment_id,
            last_success=self._sender.last_success,
            problem=self.problem,
            lag_seconds=max(unfrozen, unsent, 0.0),
            waiting_points=backlog.points,
            refused_entries=backlog.refused,
            dropped_sample_points=self._dropped,
            completeness=self._completeness(),
            failures=dict(self._sender.failures),
        )

    def _completeness(self) -> float | None:
        closed = self._outbox.newest(EntryKind.CLOSE)
        found = [
            point.value
            for entry in closed
            for point in entry.points
            if point.name == "day/completeness"
        ]
        return min(found, default=None)


@contextmanager
def open_bridge(settings: Settings) -> Iterator[Bridge]:
    """Open the state and connect the parts; the lease is given back at the end.

    Raises:
        StateError: The state cannot be used.
        UnusableTrackingUriError: The history cannot go where it should.
    """
    store = store_of(settings, Path.cwd())
    if store.warning:
        _LOGGER.warning("%s", store.warning)
    with open_state(settings.state_store) as state:
        bridge = Bridge(settings, store, state)
        try:
            yield bridge
        finally:
            with suppress(StateError):
                bridge.lease.release()


def run(settings: Settings, *, end_with_stdin: bool) -> None:
    """Write the history until told to stop.

    Args:
        settings: The service's.
        end_with_stdin: Whether to stop when whoever started this process is gone.
    """
    share_one_arena()
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    if end_with_stdin:
        threading.Thread(target=_wait_for_end_of_stdin, args=(stopped,), daemon=True).start()
    os.nice(_NICENESS)  # Predictions come first.
    with open_bridge(settings) as bridge:
        bridge.lease.renew()
        scheduler = scheduler_of(
            {
                "lease": (bridge.keep_lease, RENEWED_EVERY_SECONDS),
                "freezing": (bridge.freeze, _FREEZE_SECONDS),
                "sending": (bridge.send, _SEND_SECONDS),
                "releases": (bridge.record_releases, _RELEASES_SECONDS),
                "filing": (bridge.file, _FILING_SECONDS),
                "housekeeping": (bridge.keep_house, _HOUSEKEEPING_SECONDS),
            }
        )
        scheduler.start()
        try:
            stopped.wait()
        finally:
            scheduler.shutdown(wait=True)


def _wait_for_end_of_stdin(stopped: threading.Event) -> None:
    # Not `sys.stdin`, whose lock a thread that reads takes with it: the interpreter would abort.
    while os.read(0, _ANYTHING_BYTES):
        pass
    stopped.set()


def _experiment_name(settings: Settings) -> str:
    file = settings.experiment_file
    if file is None and DEFAULT_FILE.exists():
        file = DEFAULT_FILE
    return "none" if file is None else Experiment.from_toml(file).name
