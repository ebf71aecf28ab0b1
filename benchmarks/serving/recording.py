"""What recording costs: a turn of requests written to files by the real recorder, in process."""

import random
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.serving.results import Goal, Part, Row, Table
from benchmarks.serving.rounds import Spread, interleaved
from benchmarks.serving.setup import Setup
from benchmarks.serving.subject import BODIES
from service.monitoring.counts import ModelVersion
from service.telemetry.folder import MetricsFolder
from service.telemetry.recorder import Recorder
from service.telemetry.reservoir import Reservoir

_TURNS = (1, 4, 8, 16)
_USUAL_TURN = 8
"""Requests of a turn under load from 16 connections: assumed, not measured."""
_WINDOW_SECONDS, _SAMPLES = 300, 100
_MICROSECONDS = 1e6


def measure(setup: Setup, *, cpu_us: float | None) -> Part:
    """Measure processor time per request, and its share of ``cpu_us`` where that is known."""
    with tempfile.TemporaryDirectory(dir=setup.folder) as folder:
        files = MetricsFolder.begin(Path(folder), time.time()).join()
        recorder = Recorder(files)
        turns = {size: recorded_turn(setup, recorder, size) for size in _TURNS}
        turns_a_round = max(setup.effort.calls, 200)
        for record in turns.values():
            _cpu_us(record, turns_a_round, 1)
        times = interleaved(
            {
                str(size): partial(_cpu_us, record, turns_a_round, size)
                for size, record in turns.items()
            },
            setup.effort.rounds,
        )
        files.close()
    usual = times[str(_USUAL_TURN)]
    share = None if cpu_us is None else Spread.of([one / cpu_us * 100 for one in usual])
    spreads = {size: Spread.of(values) for size, values in times.items()}
    what = (
        f"A turn of {_USUAL_TURN} requests is assumed. Recording is: the counters, histograms and "
        "features of the model, the sample of individual predictions, finding the values of "
        "features, and both writes of a turn."
    )
    goal = Goal(5.0, 3.0, more_is_better=False)
    of = [] if cpu_us is None else [f"A request takes {cpu_us:.0f} us of processor time."]
    return Part(
        "Recording, in process, into files",
        [
            Row("recording, share of a request's processor time", share, goal, "%"),
            Row(f"recording per request, {_USUAL_TURN} a turn", Spread.of(usual), unit="us"),
        ],
        [
            Table(
                "Processor time of recording in us per request",
                ["requests a turn", "median", "lowest", "highest"],
                [
                    [size, *(f"{us:.2f}" for us in (one.median, one.lowest, one.highest))]
                    for size, one in spreads.items()
                ],
            )
        ],
        [what, *of],
    )


def recorded_turn(setup: Setup, recorder: Recorder, size: int) -> Callable[[], None]:
    """Make what records one turn of ``size`` requests as the service does."""
    encoder = setup.subject.bundle.encoder
    version = ModelVersion(f"model{size}", "1")
    model = recorder.model(
        version.model,
        version=version.version,
        kind="xgboost",
        evaluator="forest",
        vocabularies=encoder.vocabularies,
    )
    reservoir = Reservoir(
        version,
        window_seconds=_WINDOW_SECONDS,
        most=_SAMPLES,
        rng=random.Random(0),  # noqa: S311 - a sample, no secret
    )
    scores = setup.subject.scores(BODIES).astype(np.float64)
    seconds = np.random.default_rng(0).lognormal(-6.5, 0.4, size).tolist()
    rows = [1] * size
    place = 0

    def record() -> None:
        nonlocal place
        place = (place + size) % (BODIES - size)
        turn = slice(place, place + size)
        model.started(size)
        recorder.flush()
        indices = encoder.value_indices(setup.subject.requests[turn])
        model.answered(seconds, scores[turn], indices)
        reservoir.answered(time.time(), seconds, rows, scores[turn])
        recorder.flush()

    return record


def _cpu_us(record: Callable[[], None], turns: int, size: int) -> float:
    began = time.thread_time()
    for _ in range(turns):
        record()
    return (time.thread_time() - began) / (turns * size) * _MICROSECONDS
