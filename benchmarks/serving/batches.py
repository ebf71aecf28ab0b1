"""Batches of 1,000 rows over HTTP, against XGBoost alone on the finished matrix."""

import time

import numpy as np

from benchmarks.serving.load import load
from benchmarks.serving.results import Goal, Part, Row, Table
from benchmarks.serving.rounds import Spread, interleaved
from benchmarks.serving.servers import running, service
from benchmarks.serving.setup import BATCH, Setup, check_batch
from benchmarks.serving.subject import BATCH_ROWS, load_booster
from service.prediction.lean_xgboost import xgboost as xgb

_ALONE_SECONDS, _FEWEST_CALLS = 0.5, 5
_HTTP, _ALONE, _TWO_THREADS = "HTTP", "inplace_predict", "inplace_predict, 2 threads"


def measure(setup: Setup) -> Part:
    """Measure rows per second in interleaved rounds; the service is idle while XGBoost runs."""
    matrix = setup.subject.matrix(BATCH_ROWS)
    booster, two_threads = load_booster(setup.models), load_booster(setup.models)
    two_threads.set_param({"nthread": 2})
    # Not pinned: large batches are scored on a thread, beside the event loop.
    with running([service("batches", setup.models)], setup.folder, cores=None) as up:
        server = up["batches"]
        check_batch(server, setup.subject)

        def http() -> float:
            done = load(server, setup.batch, seconds=setup.effort.seconds, cores=None)
            return done.per_second * BATCH_ROWS

        def alone(which: xgb.Booster) -> float:
            times: list[float] = []
            deadline = time.perf_counter() + _ALONE_SECONDS
            while time.perf_counter() < deadline or len(times) < _FEWEST_CALLS:
                began = time.perf_counter()
                which.inplace_predict(matrix, validate_features=False)
                times.append(time.perf_counter() - began)
            return BATCH_ROWS / float(np.median(times))

        rates = interleaved(
            {
                _HTTP: http,
                _ALONE: lambda: alone(booster),
                _TWO_THREADS: lambda: alone(two_threads),
            },
            setup.effort.rounds,
        )
    lines = [
        [name, f"{spread.median:,.0f}", f"{spread.lowest:,.0f}", f"{spread.highest:,.0f}"]
        for name, spread in ((name, Spread.of(values)) for name, values in rates.items())
    ]
    return Part(
        "Batches of 1,000 rows",
        [
            Row(
                f"`{BATCH}` rows/s against in-process `inplace_predict`",
                Spread.of_ratios(rates[_HTTP], rates[_ALONE]),
                Goal(0.5, 0.8),
            ),
        ],
        [Table("Rows per second", ["", "median", "lowest", "highest"], lines)],
        [f"{setup.batch.connections} connections; `inplace_predict` with one thread in the ratio."],
    )
