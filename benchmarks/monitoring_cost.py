"""What monitoring costs: a snapshot, an answer, and whether either grows with what was served.

Run from the repository's root: ``python -m benchmarks.monitoring_cost``. Absolute times are those
of the machine; the ratios are what to look at.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from service.monitoring.health import CheckStatus, HealthPolicy
from service.monitoring.monitor import Monitor
from service.prediction.features import OTHER, UNSEEN
from service.sources.history_source import HistorySource
from service.sources.local import local_source
from service.state.store import open_state
from service.telemetry.folder import MetricsFolder
from service.telemetry.recorder import ModelRecorder, Recorder
from service.telemetry.registry import registry_of
from service.telemetry.series import WorkerFiles
from service.worker_process import favour_event_loop

MODELS, WORKERS = 5, 2
REPEATS = 50
FEW, MANY = 10**3, 10**8
BULK = 10**6
MILLISECOND = 0.001
VOCABULARIES: Mapping[str, tuple[str, ...]] = {
    "user": ("(seen)", UNSEEN),
    "ad": ("(seen)", UNSEEN),
    "device": (*(f"device{i}" for i in range(20)), OTHER, UNSEEN),
    "placement": (*(f"placement{i}" for i in range(20)), OTHER, UNSEEN),
    "hour": tuple(map(str, range(24))),
    "day_of_week": tuple(map(str, range(7))),
}


class _NothingDecided:
    def load(self) -> Mapping[str, Mapping[str, CheckStatus]]:
        return {}


class _Worker(NamedTuple):
    files: WorkerFiles
    models: list[ModelRecorder]

    def serve(self, predictions: int) -> None:
        rng = np.random.default_rng(0)
        for recorder in self.models:
            left = predictions // (MODELS * WORKERS)
            while left > 0:
                rows = min(left, BULK)
                indices = np.zeros((rows, len(VOCABULARIES)), dtype=np.int64)
                recorder.started()
                recorder.answered([0.002], rng.beta(2, 80, rows), indices)
                left -= rows
        self.files.flush()


def main() -> None:
    """Measure and print."""
    with (
        tempfile.TemporaryDirectory() as folder,
        open_state(f"sqlite:///{folder}/state.db") as state,
    ):
        metrics = MetricsFolder.begin(Path(folder) / "metrics", time.time())
        workers = [_worker(metrics) for _ in range(WORKERS)]
        history = state.history("benchmark")
        source = local_source(registry_of(metrics), history)
        monitor = Monitor(
            source=source,
            verdicts=_NothingDecided(),
            policy=HealthPolicy(error_rate_percent=5, latency_ms=1000, min_requests=20),
            health_window_seconds=300,
        )
        questions: dict[str, Callable[[], object]] = {
            "snapshot": source.snapshot,
            "stats, window=all": lambda: monitor.statistics(None),
            "stats, window=5m": lambda: monitor.statistics(300),
            "health": monitor.health,
        }
        _serve(workers, FEW)
        now = source.snapshot()
        history.append(now.at, now)
        few = {name: _median_ms(question) for name, question in questions.items()}
        again = {name: _median_ms(question) for name, question in questions.items()}
        _serve(workers, MANY - FEW)
        many = {name: _median_ms(question) for name, question in questions.items()}
        print(f"{MODELS} models, {WORKERS} workers, median of {REPEATS} in ms")
        print(f"{'':20}{FEW:>12,}{'again':>12}{MANY:>14,}  predictions served")
        for name in questions:
            print(f"{name:20}{few[name]:12.2f}{again[name]:12.2f}{many[name]:14.2f}")
        favour_event_loop()
        idle, busy, again_idle = asyncio.run(_lateness(source))
        print("event loop, p99 lateness of a 1 ms timer in ms, snapshots taken without pause:")
        print(f"idle {idle:.2f}   snapshots {busy:.2f}   idle again {again_idle:.2f}")
        for worker in workers:
            worker.files.close()


def _worker(metrics: MetricsFolder) -> _Worker:
    files = metrics.join()
    recorder = Recorder(files)
    models = [
        recorder.model(
            f"model{i}", version="1", kind="xgboost", evaluator="forest", vocabularies=VOCABULARIES
        )
        for i in range(MODELS)
    ]
    return _Worker(files, models)


def _serve(workers: list[_Worker], predictions: int) -> None:
    for worker in workers:
        worker.serve(predictions)


def _median_ms(question: Callable[[], object]) -> float:
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        question()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1000


async def _lateness(source: HistorySource) -> tuple[float, float, float]:
    """P99 lateness of a timer: at rest, while another thread takes snapshots, at rest again."""
    idle = await _timer_p99(REPEATS * 20)
    stopping = False

    def snapshots() -> None:
        while not stopping:
            source.snapshot()

    thread = asyncio.create_task(asyncio.to_thread(snapshots))
    busy = await _timer_p99(REPEATS * 20)
    stopping = True
    await thread
    return idle, busy, await _timer_p99(REPEATS * 20)


async def _timer_p99(ticks: int) -> float:
    late = []
    for _ in range(ticks):
        start = time.perf_counter()
        await asyncio.sleep(MILLISECOND)
        late.append(time.perf_counter() - start - MILLISECOND)
    return float(np.percentile(late, 99)) * 1000


if __name__ == "__main__":
    main()
