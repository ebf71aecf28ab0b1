"""`python -m bridge report`: one page about one model on one day, with plots.

Drawn from the state store in a process of its own, which ends and gives its memory back.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bridge.points import Numbers, common_numbers
from bridge.slot_reader import SlotReader
from bridge.windows import SECONDS_PER_DAY, Slot
from service.logs import FORMAT_VARIABLE
from service.monitoring.counts import ModelVersion
from service.monitoring.tracking import EntryKind, TrackedRun
from service.state.store import State

_TIMEOUT_SECONDS = 120


class ReportError(Exception):
    """A report cannot be drawn; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Day:
    """What a report is about."""

    run: TrackedRun
    windows: Mapping[int, Numbers]
    """By their end in Unix seconds."""
    day: Numbers
    """Aggregates of the closed day; empty before that."""
    score_bounds: NDArray[np.float64]
    score_counts: NDArray[np.float64]
    """Predictions per bucket; empty where the history does not reach back."""


def draw_in_own_process(run_key: str) -> Path:
    """Draw the report of a run, in a folder of its own that the caller removes.

    Raises:
        ReportError: It cannot be drawn.
    """
    folder = Path(tempfile.mkdtemp(prefix="report-"))
    file = folder / "report.html"
    command = [sys.executable, "-m", "bridge", "report", "--run", run_key, "--output", str(file)]
    try:
        subprocess.run(  # noqa: S603 - our own words
            command,
            # What it says becomes a part of what is said here.
            env={**os.environ, FORMAT_VARIABLE: "text"},
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=True,
        )
    except subprocess.SubprocessError as error:
        shutil.rmtree(folder)
        said = str(getattr(error, "stderr", None) or error).strip()[-500:]
        why = said.rpartition("python -m bridge report: error: ")[2]
        raise ReportError(f"the report of {run_key} cannot be drawn: {why}") from error
    return file


def day_of(state: State, scope: str, run: TrackedRun) -> Day:
    """Gather what a report shows."""
    outbox = state.outbox(scope)
    windows = {
        entry.points[0].timestamp_ms // 1000: common_numbers(entry.points)
        for entry in outbox.entries(run.key, EntryKind.WINDOW)
    }
    closing = outbox.last(run.key, EntryKind.CLOSE)
    whole_day = Slot(number=run.start_ms // 1000 // SECONDS_PER_DAY, seconds=SECONDS_PER_DAY)
    content = SlotReader(state.history(scope)).read(whole_day)
    counts = None
    if content is not None:
        counts = content.by_version.get(ModelVersion(run.model_name, run.model_version))
    histogram = None if counts is None else counts.predictions
    return Day(
        run=run,
        windows=windows,
        day={} if closing is None else {p.name: p.value for p in closing.points},
        score_bounds=np.zeros(0) if histogram is None else histogram.bounds,
        score_counts=np.zeros(0)
        if histogram is None
        else np.diff(histogram.cumulative, prepend=0.0),
    )
