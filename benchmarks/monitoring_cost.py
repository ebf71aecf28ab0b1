"""What monitoring costs: CPU of each answer and of the ticker, and whether they grow with traffic.

Run from the repository's root, with models trained: ``python -m benchmarks.monitoring_cost``. The
answers go through the whole app, threads included; the history behind them is a week long. Absolute
times are those of the machine; the ratios are what to look at.
"""

import argparse
import asyncio
import math
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.monitored_service import MonitoredService, monitored_service
from service.sources.local import local_source
from service.telemetry.registry import registry_of
from service.ticker import TickJob
from service.worker_process import favour_event_loop

FEW, MANY = 10**4, 10**7
REPEATS, ROUNDS = 10, 9
TICKS, TICK_SECONDS = 48, 5
MILLISECOND = 0.001
POLLED = (
    "/monitoring/health",
    "/monitoring/stats",
    "/monitoring/stats?window=5m",
    "/monitoring/drift/{model}",
    "/monitoring/drift/{model}/history",
    "/monitoring/quality/{model}",
    "/monitoring/experiment",
    "/monitoring/shadow",
    "/monitoring/mlflow",
    "/monitoring/baseline/{model}",
    "/metrics",
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure what monitoring costs.")
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    models_dir = parser.parse_args().models_dir
    with tempfile.TemporaryDirectory() as folder:
        few_folder, many_folder = Path(folder) / "few", Path(folder) / "many"
        for path in (few_folder, many_folder):
            path.mkdir()
        with (
            monitored_service(few_folder, models_dir) as few,
            monitored_service(many_folder, models_dir) as many,
        ):
            asyncio.run(_compare(few, many))


async def _compare(few: MonitoredService, many: MonitoredService) -> None:
    for service, predictions in ((few, FEW), (many, MANY)):
        await service.predict(FEW // 2)
        service.add_worker_with(predictions - FEW // 2)
        service.remember_a_week()
    favour_event_loop()
    print("ticker, CPU ms a second of all its ticks, the reading included")
    jobs = [service.tick_job() for service in (few, many)]
    print(f"{FEW:,} predictions {_ticker(jobs[0]):.2f}   {MANY:,} {_ticker(jobs[1]):.2f}\n")
    print(f"CPU ms of an answer, least of {ROUNDS} rounds of {REPEATS}; new: after a commit")
    print(f"{'':36}{FEW:>12,}{'again':>9}{MANY:>12,}{'new':>9}  predictions")
    model = next(iter(few.release.bundles))
    total = 0.0
    for path in (polled.format(model=model) for polled in POLLED):
        rounds = [
            [await _milliseconds(service, path, commits=commits) for service, commits in order]
            for order in [((few, False), (few, False), (many, False), (few, True))] * ROUNDS
        ]
        once, again, grown, new = np.min(rounds, axis=0)
        total += once
        print(f"{path:36}{once:12.2f}{again:9.2f}{grown:12.2f}{new:9.2f}", flush=True)
    print(f"{'all of them':36}{total:12.2f}\n")
    idle, busy, again_idle = await _lateness(few)
    print("event loop, p99 lateness of a 1 ms timer in ms, snapshots taken without pause:")
    print(f"idle {idle:.2f}   snapshots {busy:.2f}   idle again {again_idle:.2f}")


async def _milliseconds(service: MonitoredService, path: str, *, commits: bool) -> float:
    """CPU of one answer; where something ``commits``, nothing that was remembered helps."""
    spent = 0.0
    await service.get(path)
    for number in range(REPEATS):
        if commits:
            service.state.values.save("benchmark", "commit", str(number).encode())
        start = time.process_time()
        await service.get(path)
        spent += time.process_time() - start
    return spent / REPEATS * 1000


def _ticker(job: TickJob) -> float:
    """CPU milliseconds of the ticks of a second, over whole minutes."""
    boundaries = list(_boundaries())
    for boundary in boundaries[: TICKS // 4]:
        job(boundary)
    start = time.process_time()
    for boundary in boundaries[TICKS // 4 :]:
        job(boundary)
    seconds = (len(boundaries) - TICKS // 4) * TICK_SECONDS
    return (time.process_time() - start) / seconds * 1000


def _boundaries() -> Iterator[float]:
    """Give the ticks after the remembered week, which ends some minutes ago."""
    first = math.ceil((time.time() - 590) / 60) * 60
    yield from (float(first + TICK_SECONDS * number) for number in range(TICKS))


async def _lateness(service: MonitoredService) -> tuple[float, float, float]:
    """P99 lateness of a timer: at rest, while another thread takes snapshots, at rest again."""
    history = service.state.history(service.settings.scope)
    source = local_source(registry_of(service.metrics), history)
    idle = await _timer_p99()
    stopping = False

    def snapshots() -> None:
        while not stopping:
            source.snapshot()

    thread = asyncio.create_task(asyncio.to_thread(snapshots))
    busy = await _timer_p99()
    stopping = True
    await thread
    return idle, busy, await _timer_p99()


async def _timer_p99() -> float:
    late = []
    for _ in range(1000):
        start = time.perf_counter()
        await asyncio.sleep(MILLISECOND)
        late.append(time.perf_counter() - start - MILLISECOND)
    return float(np.percentile(late, 99)) * 1000


if __name__ == "__main__":
    main()
