"""Whether a service that works for long stays as it is: memory, files, state, time to answer.

``python -m benchmarks.soak --minutes 30`` starts a service with its bridge and asks as clients,
dashboards, Prometheus and operators do, at a modest rate. What it holds is read every few seconds;
it ends with 1 where anything surely grows by more than its bound. A short form is a test.
"""

import argparse
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from multiprocessing import get_context
from pathlib import Path

import httpx
import numpy as np
from scipy import stats

from benchmarks.hostile import AD
from benchmarks.open_loop import Sent, send
from benchmarks.serving.servers import Command, Server, running, service

REQUESTS_PER_SECOND = 150
_CONNECTIONS = 8
_EVERY_SECONDS = 2.0
_RELOAD_EVERY = 4
"""Looks between two reloads of the models: the most that is kept of releases is there early."""
_WARM_SHARE = 0.25
"""Of the time at the beginning: caches fill, and the first windows come."""
_CONFIDENCE = 0.99
_MEGABYTE = 1e6
_PAGES = (
    *("/metrics", "/monitoring/health", "/monitoring/stats?window=60s", "/monitoring/mlflow"),
    *("/monitoring/drift/xgboost", "/monitoring/quality/xgboost", "/monitoring/experiment"),
)


@dataclass(frozen=True)
class Look:
    """What there is at one moment."""

    at: float
    """Seconds since the beginning."""
    held: Mapping[str, float]
    """By what it is."""


@dataclass(frozen=True)
class Growth:
    """How much something grew from the end of the warm-up to the end."""

    what: str
    first: float
    """Its mean in the first tenth."""
    low: float
    high: float
    """Confidence limits of the growth."""
    most: float
    """What it may grow by."""

    @property
    def is_too_much(self) -> bool:
        """Whether it surely grew by more than it may."""
        return self.low > self.most


@dataclass(frozen=True)
class Soaked:
    """What was seen."""

    looks: Sequence[Look]
    sent: Sent
    problems: Sequence[str]
    """Questions that were not answered with 200."""


def soak(command: Command, seconds: float) -> Soaked:
    """Start a service and use it for so long."""
    body = json.dumps(AD)
    head = "POST /predict_ctr HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
        running([command], Path(folder), cores=None) as servers,
    ):
        server = servers[command.name]
        sending = pool.submit(
            send,
            server.address,
            request,
            connections=_CONNECTIONS,
            seconds=seconds,
            per_second=REQUESTS_PER_SECOND,
        )
        looks: list[Look] = []
        problems: list[str] = []
        began = time.perf_counter()
        with httpx.Client(base_url=server.url, timeout=60) as client:
            for number in itertools.count(1):
                due = began + number * _EVERY_SECONDS
                if due > began + seconds:
                    break
                problems += _use(client, reload=number % _RELOAD_EVERY == 0)
                looks.append(Look(time.perf_counter() - began, _held(server, Path(folder))))
                time.sleep(max(due - time.perf_counter(), 0.0))
        return Soaked(looks, sending.result(), problems)


def growths(soaked: Soaked, bounds: Mapping[str, float]) -> list[Growth]:
    """Say how much everything grew, by straight lines through what was seen."""
    end = soaked.looks[-1].at
    looks = [look for look in soaked.looks if look.at > _WARM_SHARE * end]
    at = np.array([look.at for look in looks])
    found = [
        growth(what, at, np.array([look.held.get(what, 0.0) for look in looks]), most)
        for what, most in bounds.items()
        if what != "p99_ms"
    ]
    times = np.array(soaked.sent.finished[HTTPStatus.OK])
    seconds = np.array(soaked.sent.latencies[HTTPStatus.OK])
    slices = np.linspace(_WARM_SHARE * end, end, 21)
    p99 = [
        float(np.quantile(seconds[(times >= low) & (times < high)], 0.99)) * 1000
        for low, high in itertools.pairwise(slices)
    ]
    return [*found, growth("p99_ms", slices[:-1], np.array(p99), bounds["p99_ms"])]


def growth(what: str, at: np.ndarray, values: np.ndarray, most: float) -> Growth:
    """Fit a line; neighbours resemble each other, so tenths of the time are what is fitted."""
    parts = [part for part in np.array_split(np.arange(len(at)), 10) if len(part)]
    x = np.array([at[part].mean() for part in parts])
    y = np.array([values[part].mean() for part in parts])
    if np.ptp(y) == 0.0:
        return Growth(what, float(y[0]), 0.0, 0.0, most)
    fit = stats.linregress(x, y)
    error = stats.t.ppf((1 + _CONFIDENCE) / 2, len(x) - 2) * fit.stderr
    span = at[-1] - at[0]
    return Growth(what, float(y[0]), (fit.slope - error) * span, (fit.slope + error) * span, most)


def bounds(seconds: float) -> Mapping[str, float]:
    """Most growth after the warm-up.

    Memory: 6 MB, by which an allocator may fragment; over half an hour 30 bytes a request. Files,
    descriptors, threads: what is open for a moment only. State: what history, drift samples
    and the outbox write, 0.65 kB a second with windows of ten, until the first rows are dropped
    after two hours. p99: twice what a busy machine makes of it.
    """
    return {
        "memory_mb": 6.0,
        "bridge_memory_mb": 12.0,
        "descriptors": 3.0,
        "threads": 3.0,
        "files": 3.0,
        "state_mb": 0.0008 * seconds + 0.5,
        "p99_ms": 50.0,
    }


def broken_laws(soaked: Soaked, seconds: float) -> list[str]:
    """Say what surely grew too much, and what was not answered."""
    wrong = [
        f"{one.what} grew from {one.first:.2f} by {one.low:.2f} to {one.high:.2f}, over {one.most}"
        for one in growths(soaked, bounds(seconds))
        if one.is_too_much
    ]
    sent = soaked.sent
    if set(sent.latencies) != {HTTPStatus.OK} or sent.lost:
        wrong.append(
            f"answers: { {s: len(v) for s, v in sent.latencies.items()} }, {sent.lost} lost"
        )
    return [*wrong, *soaked.problems]


def _use(client: httpx.Client, *, reload: bool) -> list[str]:
    answers = [client.get(path) for path in _PAGES]
    prediction = client.post("/predict_ctr", json=AD)
    answers.append(prediction)
    if prediction.status_code == HTTPStatus.OK:
        click = {"prediction_id": prediction.json()["prediction_id"], "clicked": True}
        answers.append(client.post("/feedback", json={"events": [click]}))
    if reload:
        answers.append(client.post("/models/reload", json={}))
    return [
        f"{one.request.url.path} answers {one.status_code}"
        for one in answers
        if one.status_code != HTTPStatus.OK
    ]


def _held(server: Server, folder: Path) -> Mapping[str, float]:
    home = Path(f"/proc/{server.pid}")
    files = [path for path in folder.rglob("state/**/*") if path.is_file()]
    # The write-ahead log comes and goes below 16 MB.
    lasting = [path for path in files if not path.name.endswith(("-wal", "-shm"))]
    return {
        "memory_mb": _resident_mb(server.pid),
        "bridge_memory_mb": sum(map(_resident_mb, server.children())),
        "descriptors": float(server.open_files()),
        "threads": float(sum(1 for _ in (home / "task").iterdir())),
        "files": float(len(files)),
        "state_mb": sum(path.stat().st_size for path in lasting) / _MEGABYTE,
    }


def _resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / _MEGABYTE


def main() -> int:
    """Use a service for long; returns 1 where a law is broken."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--models-dir", type=Path, default=Path("models"), help="(%(default)s)")
    parser.add_argument("--minutes", type=float, default=30.0, help="(%(default)s)")
    flags = parser.parse_args()
    seconds = flags.minutes * 60
    soaked = soak(with_bridge(flags.models_dir), seconds)
    for one in growths(soaked, bounds(seconds)):
        sys.stdout.write(
            f"{one.what:17} first {one.first:9.2f}  growth {one.low:8.2f} to {one.high:8.2f}"
            f"  may be {one.most:.2f}\n"
        )
    wrong = broken_laws(soaked, seconds)
    sent = sum(map(len, soaked.sent.latencies.values()))
    sys.stdout.write("\n".join([*wrong, f"{sent} predictions: {len(wrong)} laws broken\n"]))
    return 1 if wrong else 0


def with_bridge(models_dir: Path) -> Command:
    """Start the service as a user does, with a history that is written every ten seconds."""
    return service(
        "soak", models_dir, environment={"CTR_BRIDGE_ENABLED": "true", "CTR_BRIDGE_WINDOW": "10"}
    )


if __name__ == "__main__":
    sys.exit(main())
