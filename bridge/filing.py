"""Sends what comes with files: releases and daily reports. It holds up no point of the history."""

import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from bridge.report import ReportError
from bridge.runs import RELEASE_KEY_TAG, RELEASE_TAG
from bridge.tracking import (
    MODEL_FOLDER,
    RefusedError,
    RunGoneError,
    Tracking,
    TrackingUnavailableError,
)
from service.monitoring.tracking import Entry, EntryKind, RunKind
from service.state.outbox import Outbox

_REPORT_FOLDER = "report"
_PAUSE_SECONDS = 60.0
"""After a failure; each report is drawn anew, which costs a second of a core."""

_LOGGER = logging.getLogger(__name__)


class Filing:
    """Empties the part of the outbox that has files, one entry after the other."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        tracking: Tracking,
        holds_lease: Callable[[], bool],
        draw_report: Callable[[str], Path],
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Compose.

        Args:
            outbox: What is to be sent.
            tracking: Where to; connected by somebody else.
            holds_lease: Whether this bridge is the one that works.
            draw_report: Draws the report of the run with this key, in a folder of its own.
            clock: Unix seconds.
            monotonic: Seconds of a clock that nobody sets.
        """
        self._outbox = outbox
        self._tracking = tracking
        self._holds_lease = holds_lease
        self._draw_report = draw_report
        self._clock = clock
        self._monotonic = monotonic
        self._failing = False
        self._paused_until = 0.0

    def file(self, store: str) -> int:
        """Send what waits; returns the number of entries.

        Args:
            store: Where the tracking is connected to.
        """
        done = 0
        if self._monotonic() < self._paused_until:
            return done
        for item in self._outbox.waiting_with_files():
            if not self._holds_lease():
                break
            try:
                self._send(item.entry, store)
            except RunGoneError:
                self._outbox.forget_run(item.entry.run_key)
            except RefusedError as refused:
                _LOGGER.warning("MLflow refuses %s: %s", item.entry.run_key, refused)
                self._outbox.refuse(item.id, str(refused))
            except ReportError as problem:
                _LOGGER.warning("%s", problem)
                self._outbox.refuse(item.id, str(problem))
            except (TrackingUnavailableError, OSError) as problem:
                if not self._failing:
                    _LOGGER.warning("a file cannot be stored in MLflow; it waits: %s", problem)
                self._failing = True
                self._paused_until = self._monotonic() + _PAUSE_SECONDS
                break
            else:
                self._failing = False
                self._outbox.acknowledge([item.id], self._clock())
                done += 1
        return done

    def _send(self, entry: Entry, store: str) -> None:
        known = self._outbox.run(entry.run_key, store)
        run_id = known.run_id or self._tracking.find_or_create(known.run, None)
        if known.run_id is None:
            self._outbox.remember_run(entry.run_key, store, run_id)
        if entry.kind is EntryKind.REPORT:
            report = self._draw_report(entry.run_key)
            try:
                self._tracking.attach(run_id, report, _REPORT_FOLDER)
            finally:
                shutil.rmtree(report.parent)
            return
        self._tracking.tell(run_id, entry.points, entry.tags)
        self._tracking.tell_params(run_id, entry.params)
        for file in map(Path, entry.files):
            if not file.exists():
                # Training keeps the newest versions only; the numbers of older ones stay.
                _LOGGER.warning("%s is gone and is not in MLflow", file)
                continue
            self._tracking.attach(run_id, file, MODEL_FOLDER)
        self._tracking.register(run_id, known.run.model_name, known.run.model_version)
        if entry.end_ms is not None:
            self._tracking.finish(run_id, entry.end_ms)
        for run, served_run_id in self._outbox.located_runs(store):
            if run.kind is RunKind.MONITORING and run.tags.get(RELEASE_KEY_TAG) == entry.run_key:
                self._tracking.tell(served_run_id, (), {RELEASE_TAG: run_id})
