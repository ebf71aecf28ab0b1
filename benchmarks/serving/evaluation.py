"""The model alone, in process: from a row of features to a score."""

import time
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.serving.results import Goal, Part, Row, Table
from benchmarks.serving.rounds import Spread, interleaved
from benchmarks.serving.setup import Setup
from benchmarks.serving.subject import BATCH_ROWS, BODIES
from service.prediction.model import Model

_SIZES = (1, 4, 8, 16, 64, 128, 256, BATCH_ROWS)
_OURS, _XGBOOST = "model of the bundle", "inplace_predict"
_NANOSECONDS_PER_US = 1000

Rows = NDArray[np.float32]


def measure(setup: Setup) -> Part:
    """Measure the model as it is served beside XGBoost's own call, with one thread."""
    matrix = setup.subject.matrix(BATCH_ROWS)
    model, booster = setup.subject.bundle.model, setup.subject.booster
    engines: dict[str, Callable[[Rows], object]] = {
        _OURS: model.predict,
        _XGBOOST: lambda rows: booster.inplace_predict(rows, validate_features=False),
    }
    lines = []
    medians: list[float] = []
    for size in _SIZES:
        calls = max(setup.effort.calls // size, 20)
        times = interleaved(
            {
                name: partial(_times_us, predict, matrix, size, calls)
                for name, predict in engines.items()
            },
            setup.effort.rounds,
        )
        if size == 1:
            medians = [float(np.median(one)) for one in times[_OURS]]
        line = [f"{size}"]
        for name in engines:
            per_row = np.concatenate(times[name]) / size
            line += [f"{per_row.min():.2f}", f"{np.median(per_row):.2f}"]
        lines.append(line)
    columns = ["rows", *(f"{name}, {of}" for name in engines for of in ("least", "median"))]
    return Part(
        "The model in process, one thread",
        [
            Row(
                "one row evaluated in process",
                Spread.of(medians),
                Goal(17.0, 5.0, more_is_better=False),
                "us",
            )
        ],
        [Table("Microseconds per row, by the rows of a call", columns, lines)],
        [
            f"{setup.subject.nodes:,} nodes in the trees; rows of {BODIES} requests in rotation.",
            _evaluator(model),
        ],
    )


def _evaluator(model: Model) -> str:
    reason = model.evaluator.fallback_reason
    return f"A few rows are scored by: {model.evaluator.name}" + (f", {reason}." if reason else ".")


def _times_us(
    predict: Callable[[Rows], object], matrix: Rows, size: int, calls: int
) -> NDArray[np.float64]:
    starts = [(i * size) % max(len(matrix) - size, 1) % BODIES for i in range(calls)]
    rows = [np.ascontiguousarray(matrix[start : start + size]) for start in starts]
    times = np.empty(calls)
    predict(rows[0])
    for i, some in enumerate(rows):
        began = time.perf_counter_ns()
        predict(some)
        times[i] = time.perf_counter_ns() - began
    return times / _NANOSECONDS_PER_US
