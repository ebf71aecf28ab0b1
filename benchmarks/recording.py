"""What recording costs a request, and a reading of what was recorded.

Run from the repository's root: ``python -m benchmarks.recording``. Processor time of this process,
the least of several runs; absolute times are those of the machine.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from prometheus_client import generate_latest

from service.telemetry.folder import MetricsFolder
from service.telemetry.recorder import ModelRecorder, Recorder
from service.telemetry.registry import registry_of

VOCABULARY_SIZES = {"user": 2, "ad": 2, "device": 22, "placement": 22, "hour": 24, "day": 7}
VOCABULARIES = {name: tuple(map(str, range(size))) for name, size in VOCABULARY_SIZES.items()}
REQUESTS = (1, 4, 8, 16)
BATCH_ROWS = 1000
RUNS = 7
OPENMETRICS = "application/openmetrics-text;version=1.0.0"
_LEAST_SECONDS = 0.05
"""So long a run takes at least: the clock of processor time is coarse."""


class _Worker(NamedTuple):
    recorder: Recorder
    models: list[ModelRecorder]


class Turn:
    """Requests of one turn of the event loop that one model answers."""

    def __init__(self, recorder: Recorder, model: ModelRecorder, requests: int, rows: int) -> None:
        rng = np.random.default_rng(0)
        self._recorder, self._model = recorder, model
        self._seconds: list[float] = rng.lognormal(-6, 0.3, requests).tolist()
        self._scores = rng.beta(2, 80, rows)
        self._value_indices = np.column_stack(
            [rng.integers(0, size, rows) for size in VOCABULARY_SIZES.values()]
        )

    def record(self) -> None:
        """Record all of it as the predictor does, before and after scoring."""
        self._model.started(len(self._seconds))
        self._recorder.flush()
        self._model.answered(self._seconds, self._scores, self._value_indices)
        self._recorder.flush()


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as path:
        metrics = MetricsFolder.begin(Path(path), time.time())
        with _worker(metrics) as worker:
            model = worker.models[0]
            for requests in REQUESTS:
                turn = Turn(worker.recorder, model, requests, requests)
                each = microseconds(turn.record) / requests
                print(f"turn of {requests:2} requests   {each:8.2f} us a request")
            batch = Turn(worker.recorder, model, 1, BATCH_ROWS)
            print(f"batch of {BATCH_ROWS} rows  {microseconds(batch.record):8.2f} us")
            _print_reading(metrics, "one worker")
            with _worker(metrics):
                _print_reading(metrics, "two workers")


def microseconds(action: Callable[[], object]) -> float:
    """Processor time of one ``action``, the least of several runs."""
    repeats, taken = 1, _seconds(action, 1)
    while taken < _LEAST_SECONDS:
        repeats *= 2
        taken = _seconds(action, repeats)
    return min(taken, *(_seconds(action, repeats) for _ in range(RUNS))) / repeats * 1e6


def _seconds(action: Callable[[], object], repeats: int) -> float:
    start = time.process_time()
    for _ in range(repeats):
        action()
    return time.process_time() - start


@contextmanager
def _worker(metrics: MetricsFolder) -> Iterator[_Worker]:
    files = metrics.join()
    recorder = Recorder(files)
    yield _Worker(
        recorder,
        [
            recorder.model(
                name, version="1", kind="xgboost", evaluator="forest", vocabularies=VOCABULARIES
            )
            for name in ("a", "b")
        ],
    )
    files.close()


def _print_reading(metrics: MetricsFolder, who: str) -> None:
    registry = registry_of(metrics, shown_only=True)
    lines = registry.exposition("")[0].count(b"\n")
    print(f"{who}, {lines} lines")
    for what, read in (
        ("snapshot", lambda: registry.snapshot(0.0)),
        ("/metrics, text", lambda: registry.exposition("")),
        ("/metrics, OpenMetrics", lambda: registry.exposition(OPENMETRICS)),
        ("the same by prometheus_client", lambda: generate_latest(registry)),
    ):
        print(f"  {what:30} {microseconds(read):8.0f} us")


if __name__ == "__main__":
    main()
