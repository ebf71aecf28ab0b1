"""Traffic for drift tests: scores and latencies drawn one by one, then added up by tick."""

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from service.monitoring.baseline import Baseline
from service.monitoring.buckets import LATENCY_BOUNDS, PREDICTION_BOUNDS
from service.monitoring.drift.from_ticks import baseline_from_ticks
from service.monitoring.drift.reference import QuantityReference, Reference
from service.monitoring.drift.ticks import TICK_SECONDS, Aggregates, Floats, Ticks

MIDNIGHT = 1_700_006_400.0
MEAN, STD = 0.023, 0.012
LATENCY_SECONDS, LATENCY_STD = 0.0456, 0.0123


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What is drawn; lognormal, with moments as they are named."""

    mean: float = MEAN
    std: float = STD
    latency: float = LATENCY_SECONDS
    latency_std: float = LATENCY_STD
    per_tick: int = 300


NORMAL = Traffic()


def traffic(
    ticks: int, what: Traffic = NORMAL, *, seed: int, start: float = MIDNIGHT, wander: float = 0.0
) -> Ticks:
    rng = np.random.default_rng(seed)
    slow = np.zeros(ticks)
    for t in range(1, ticks if wander else 0):
        slow[t] = 0.975 * slow[t - 1] + wander * np.sqrt(1 - 0.975**2) * rng.standard_normal()
    scores = lognormal(rng, what.mean, what.std, (ticks, what.per_tick)) * np.exp(slow)[:, None]
    times = lognormal(rng, what.latency, what.latency_std, (ticks, what.per_tick))
    return Ticks(
        time=start + TICK_SECONDS * np.arange(1.0, ticks + 1),
        predictions=added_up(scores.clip(max=1.0), PREDICTION_BOUNDS),
        latency=added_up(times, LATENCY_BOUNDS),
    )


def lognormal(rng: np.random.Generator, mean: float, std: float, shape: tuple[int, int]) -> Floats:
    square = np.log1p((std / mean) ** 2)
    logs = np.log(mean) - square / 2 + np.sqrt(square) * rng.standard_normal(shape)
    return np.asarray(np.exp(logs))


def added_up(values: Floats, bounds: tuple[float, ...]) -> Aggregates:
    ticks, width = len(values), len(bounds) + 1
    bucket = np.searchsorted(bounds, values, side="left") + width * np.arange(ticks)[:, None]
    counts = np.bincount(bucket.ravel(), minlength=ticks * width).reshape(ticks, width)
    return Aggregates(
        total=values.sum(axis=1),
        squares=np.square(values).sum(axis=1),
        buckets=counts.astype(np.float64),
        bounds=np.asarray(bounds),
    )


def joined(*parts: Ticks) -> Ticks:
    """One after the other; the times are those of the first, continued."""
    count = sum(len(part) for part in parts)
    start = float(parts[0].time[0])

    def together(quantities: list[Aggregates]) -> Aggregates:
        return Aggregates(
            total=np.concatenate([quantity.total for quantity in quantities]),
            squares=np.concatenate([quantity.squares for quantity in quantities]),
            buckets=np.concatenate([quantity.buckets for quantity in quantities]),
            bounds=quantities[0].bounds,
        )

    return Ticks(
        time=start + TICK_SECONDS * np.arange(float(count)),
        predictions=together([part.predictions for part in parts]),
        latency=together([part.latency for part in parts]),
    )


def captured(ticks: Ticks) -> Baseline:
    return baseline_from_ticks(
        ticks,
        model_name="xgboost",
        model_version="1",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        created_by="test",
    )


def without_wander(reference: Reference) -> Reference:
    """Hold the means to stand still exactly, as an endless reference would tell."""
    latency = reference.latency
    return replace(
        reference,
        predictions=_still(reference.predictions),
        latency=None if latency is None else _still(latency),
    )


def _still(quantity: QuantityReference) -> QuantityReference:
    wander = replace(quantity.wander, variance=np.zeros(quantity.course.channels))
    return replace(quantity, wander=wander)


def four_numbers() -> Baseline:
    """The seed's baseline."""
    return Baseline(
        model_name="xgboost",
        model_version="1",
        mean_prediction=MEAN,
        std_prediction=STD,
        mean_latency_seconds=LATENCY_SECONDS,
        std_latency_seconds=LATENCY_STD,
        source="request",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        created_by="test",
    )


def arrays_of(ticks: Ticks) -> dict[str, np.ndarray]:
    """As the files of `python -m service replay` have them."""
    return {
        "time": ticks.time,
        "count": ticks.predictions.count,
        "prediction_sum": ticks.predictions.total,
        "prediction_sum_squares": ticks.predictions.squares,
        "prediction_buckets": ticks.predictions.buckets,
        "prediction_bounds": ticks.predictions.bounds,
        "latency_sum": ticks.latency.total,
        "latency_sum_squares": ticks.latency.squares,
        "latency_buckets": ticks.latency.buckets,
        "latency_bounds": ticks.latency.bounds,
    }


def autoregression(rng: np.random.Generator, ticks: int, *, std: float, decay: float) -> np.ndarray:
    slow: np.ndarray = np.zeros(ticks)
    slow[0] = std * rng.standard_normal()
    for t in range(1, ticks):
        slow[t] = decay * slow[t - 1] + std * math.sqrt(1 - decay**2) * rng.standard_normal()
    return slow


def noise(
    rng: np.random.Generator, ticks: int, *, columns: int = 1, per_tick: int = 300
) -> np.ndarray:
    return rng.normal(0.0, per_tick**-0.5, (ticks, columns))
