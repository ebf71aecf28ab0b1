"""From the outbox to MLflow, each entry exactly once.

Sent, then acknowledged: what is sent twice after a crash between the two is stored once, because
points are frozen and the store knows them by all their fields.
"""

import logging
import random
import time
from collections.abc import Callable, Sequence

from bridge.runs import RELEASE_KEY_TAG, RELEASE_TAG
from bridge.tracking import (
    RefusedError,
    RunGoneError,
    Tracking,
    TrackingUnavailableError,
)
from service.monitoring.tracking import Entry, TrackedRun
from service.state.outbox import Outbox, Waiting

_POINTS_PER_CALL = 1000
# MLflow's recovery from known points on SQLite takes time with their number and the run's length.
_POINTS_PER_REPEAT = 100
_LONGEST_PAUSE_SECONDS = 15.0
_FIRST_PAUSE_SECONDS = 1.0

_LOGGER = logging.getLogger(__name__)


class Sender:
    """Empties the outbox, as long as the lease is held and the store answers."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        tracking: Tracking,
        holds_lease: Callable[[], bool],
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outbox = outbox
        self._tracking = tracking
        self._holds_lease = holds_lease
        self._clock = clock
        self._monotonic = monotonic
        self._pause_seconds = 0.0
        self._paused_until = 0.0
        # Of these runs what is told first may have been told before a crash.
        self._surely_new: set[str] = set()
        self.store: str | None = None
        """What the tracking is connected to; None while it is not."""
        self.last_success: float | None = None
        """When MLflow last took something or was found in order, in Unix seconds."""
        self.problem: TrackingUnavailableError | None = None
        """Why nothing can be told now."""
        self.failures: dict[str, int] = {}
        """Failed calls by reason, since the start."""

    def send(self) -> int:
        """Send what waits; returns the number of points that were acknowledged."""
        if self._monotonic() < self._paused_until or not self._holds_lease():
            return 0
        sent = 0
        try:
            if self.store is None:
                self.store = self._tracking.connect()
            # One after the other in turn: a long backlog of one run holds up no other for long.
            while runs := self._outbox.runs_waiting():
                for run_key in runs:
                    if not self._holds_lease():
                        return sent
                    sent += self._send_some(run_key, self.store)
        except TrackingUnavailableError as problem:
            self._pause(problem)
            return sent
        self.last_success = self._clock()
        self.problem = None
        self._pause_seconds = 0.0
        return sent

    def _send_some(self, run_key: str, store: str) -> int:
        """Send the oldest entries of one run."""
        most = _POINTS_PER_CALL if run_key in self._surely_new else _POINTS_PER_REPEAT
        waiting = self._outbox.waiting(run_key, most_points=most)
        if not waiting:
            return 0
        run_id = self._run_id(run_key, store)
        try:
            self._tell(run_id, [item.entry for item in waiting])
        except RunGoneError as gone:
            _LOGGER.warning("a run is gone from MLflow and is written anew: %s (%s)", run_key, gone)
            self._outbox.forget_run(run_key)
            self._surely_new.discard(run_key)
            return 0
        except RefusedError as refused:
            return self._send_singly(run_id, waiting, refused)
        self._outbox.acknowledge([item.id for item in waiting], self._clock())
        self._surely_new.add(run_key)
        return sum(len(item.entry.points) for item in waiting)

    def _send_singly(self, run_id: str, waiting: Sequence[Waiting], refused: RefusedError) -> int:
        """Find out which entry is refused and set it aside; the others go on."""
        if len(waiting) == 1:
            [item] = waiting
            accepted = self._accepted_points(run_id, item.entry)
            _LOGGER.error(
                "MLflow refuses a part of %s %s %d for good: %s",
                *(item.entry.run_key, item.entry.kind, item.entry.step, refused),
            )
            self._outbox.refuse(item.id, str(refused))
            return accepted
        sent = 0
        for item in waiting:
            try:
                self._tell(run_id, [item.entry])
            except RefusedError as its_own:
                sent += self._send_singly(run_id, [item], its_own)
            else:
                self._outbox.acknowledge([item.id], self._clock())
                sent += len(item.entry.points)
        return sent

    def _accepted_points(self, run_id: str, entry: Entry) -> int:
        """Tell what can be told of a refused entry; returns the number of points taken."""
        accepted = 0
        for point in entry.points:
            try:
                self._tracking.tell(run_id, [point], {})
            except RefusedError:
                continue
            accepted += 1
        return accepted

    def _tell(self, run_id: str, entries: Sequence[Entry]) -> None:
        points = [point for entry in entries for point in entry.points]
        tags = {name: value for entry in entries for name, value in entry.tags.items()}
        self._tracking.tell(run_id, points, tags)
        for entry in entries:
            if entry.end_ms is not None:
                self._tracking.finish(run_id, entry.end_ms)

    def _run_id(self, run_key: str, store: str) -> str:
        known = self._outbox.run(run_key, store)
        if known.run_id is not None:
            return known.run_id
        run: TrackedRun = known.run
        run_id = self._tracking.find_or_create(run, self._parent_id(run, store))
        self._link_release(run, run_id, store)
        self._outbox.remember_run(run_key, store, run_id)
        return run_id

    def _parent_id(self, run: TrackedRun, store: str) -> str | None:
        if run.parent_key is None:
            return None
        try:
            return self._run_id(run.parent_key, store)
        except KeyError:
            # Sent long ago and pruned; its child waited for too long to be shown in it.
            return None

    def _link_release(self, run: TrackedRun, run_id: str, store: str) -> None:
        key = run.tags.get(RELEASE_KEY_TAG)
        if key is None or not self._outbox.knows(key):
            return
        release = self._outbox.run(key, store)
        if release.run_id is not None:
            self._tracking.tell(run_id, (), {RELEASE_TAG: release.run_id})

    def _pause(self, problem: TrackingUnavailableError) -> None:
        self._surely_new.clear()
        self.store = None  # Another server may answer there next time.
        self.problem = problem
        self.failures[problem.reason] = self.failures.get(problem.reason, 0) + 1
        if not self._pause_seconds:
            _LOGGER.warning("MLflow does not take the history; it waits: %s", problem)
        self._pause_seconds = min(
            max(2 * self._pause_seconds, _FIRST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS
        )
        # Several bridges must not come back in step.
        jitter = random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        self._paused_until = self._monotonic() + jitter * self._pause_seconds
