"""Simulated per-tick aggregates: scores and latencies, with and without season, wander and load."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from service.monitoring.buckets import LATENCY_BOUNDS, PREDICTION_BOUNDS
from service.monitoring.drift.ticks import TICK_SECONDS, Aggregates, Floats, Ticks

TICKS_PER_DAY = 5760
MEAN, STD = 0.023, 0.012
_NEGLIGIBLE = 1e-12
_POINTS = 20_000
FACTORS = np.exp(np.arange(-0.6, 0.6, 0.001))

Law = Floats
"""Equally likely values, ascending, shape ``(n,)``."""


def _normal_points() -> Floats:
    from statistics import NormalDist  # noqa: PLC0415 - the benchmark's only use

    points = (np.arange(_POINTS) + 0.5) / _POINTS
    return np.array([NormalDist().inv_cdf(p) for p in points])


_Z = _normal_points()


def _moments_to(target_mean: float, target_std: float, make: Callable[[float, float], Law]) -> Law:
    """Solve for two parameters by Newton's method with numerical derivatives."""
    a, b = math.log(target_mean), 0.5
    for _ in range(60):
        base = make(a, b)
        want = np.array([math.log(target_mean), math.log(target_std)])
        here = np.log([base.mean(), base.std()])
        step = 1e-5
        by_a, by_b = make(a + step, b), make(a, b + step)
        jacobian = np.array([np.log([by_a.mean(), by_a.std()]), np.log([by_b.mean(), by_b.std()])])
        jacobian = (jacobian - here).T / step
        move = np.linalg.solve(jacobian, want - here)
        a, b = a + float(move[0]), b + float(move[1])
    return make(a, b)


def logit_normal(mean: float = MEAN, std: float = STD) -> Law:
    """Scores of the reference."""
    return _moments_to(mean, std, lambda a, b: 1 / (1 + np.exp(-(a + b * _Z))))


def gamma_shaped(mean: float = MEAN, std: float = STD) -> Law:
    """Same moments, another smooth shape (a Weibull)."""
    u = (np.arange(_POINTS) + 0.5) / _POINTS
    return _moments_to(mean, std, lambda a, b: np.exp(a) * (-np.log1p(-u)) ** max(b, 1e-3)).clip(
        1e-9, 1
    )


def beta_shaped(mean: float = MEAN, std: float = STD) -> Law:
    """Same moments, a Beta law by its numerical quantiles."""
    k = mean * (1 - mean) / std**2 - 1
    a, b = mean * k, (1 - mean) * k
    x = np.linspace(1e-7, 0.3, 2_000_001)
    density = x ** (a - 1) * (1 - x) ** (b - 1)
    cdf = np.cumsum(density)
    return np.interp((np.arange(_POINTS) + 0.5) / _POINTS, cdf / cdf[-1], x)


def bimodal(mean: float = MEAN, std: float = STD) -> Law:
    """Same moments, two humps."""
    half = 0.85 * std
    rest = math.sqrt(std**2 - half**2)
    both = np.concatenate([mean - half + rest * _Z[::2], mean + half + rest * _Z[1::2]])
    return np.sort(both).clip(1e-5, 1)


def rippled(law: Law, depth: float = 0.15) -> Law:
    """Move mass between neighbouring buckets, as another set of leaves would."""
    bucket = np.searchsorted(PREDICTION_BOUNDS, law)
    weight = 1 + depth * np.where(bucket % 2 == 0, 1.0, -1.0)
    cdf = np.cumsum(weight) / weight.sum()
    return np.interp((np.arange(_POINTS) + 0.5) / _POINTS, cdf, law)


def latency_law() -> Law:
    """Log-normal around 40 ms with one request in a hundred in a Pareto tail."""
    body = 0.040 * np.exp(0.35 * _Z)
    u = (np.arange(_POINTS // 100) + 0.5) / (_POINTS // 100)
    tail = 0.12 * (1 - u) ** (-1 / 2.5)
    return np.sort(np.concatenate([np.delete(body, np.s_[50::100]), tail]))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Table:
    """Bucket probabilities and moments of a law scaled by each of many factors."""

    probability: Floats
    first: Floats
    second: Floats

    @classmethod
    def of(cls, law: Law, bounds: tuple[float, ...]) -> "_Table":
        edges = np.asarray(bounds)
        shape = (len(FACTORS), len(edges) + 1)
        probability, first, second = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        for i, factor in enumerate(FACTORS):
            values = law * factor
            bucket = np.searchsorted(edges, values, side="left")
            n = np.bincount(bucket, minlength=shape[1])
            s = np.bincount(bucket, values, minlength=shape[1])
            q = np.bincount(bucket, values**2, minlength=shape[1])
            probability[i] = n / len(law)
            first[i] = s / np.maximum(n, 1)
            second[i] = q / np.maximum(n, 1)
        return cls(probability=probability, first=first, second=second)

    def draw(
        self, rng: np.random.Generator, count: NDArray[np.int64], log_factor: Floats
    ) -> tuple[Floats, Floats, Floats]:
        place = np.rint((log_factor - math.log(FACTORS[0])) / 0.001).astype(int)
        place = place.clip(0, len(FACTORS) - 1)
        buckets = rng.multinomial(count, self.probability[place]).astype(float)
        # What rounding the factor took away goes back into the moments.
        rest = np.exp(log_factor) / FACTORS[place]
        first, second = self.first[place] * rest[:, None], self.second[place] * rest[:, None] ** 2
        spread = np.sqrt((second - first**2).clip(min=0) * buckets)
        noise = spread * rng.standard_normal(buckets.shape)
        total = (buckets * first + noise).sum(axis=1)
        squares = (buckets * second + 2 * first * noise).sum(axis=1)
        return buckets, total, squares.clip(min=total**2 / np.maximum(count, 1))


@cache
def table(name: str, bounds: tuple[float, ...]) -> _Table:
    """Prepare a law for drawing."""
    return _Table.of(_LAWS[name](), bounds)


def ar1(rng: np.random.Generator, ticks: int, std: float, seconds: float) -> Floats:
    """First-order autoregression from its stationary law."""
    phi = math.exp(-TICK_SECONDS / seconds)
    noise = rng.standard_normal(ticks) * std * math.sqrt(1 - phi**2)
    noise[0] = rng.standard_normal() * std
    # Scan by doubling: x_t = sum phi^k e_(t-k).
    x, step = noise, 1
    while step < ticks and phi**step > _NEGLIGIBLE:
        shifted = np.concatenate([np.zeros(step), x[:-step]])
        x = x + phi**step * shifted
        step *= 2
    return x


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """How traffic behaves while nothing is wrong."""

    per_tick: float = 300
    wander: float = 0.0
    wander_seconds: float = 600.0
    season: float = 0.0
    traffic: float = 0.0
    load: float = 0.0
    load_season: float = 0.0
    by_hour: bool = False
    """Whether the season jumps at full hours instead of moving smoothly."""
    bounds: tuple[float, ...] = PREDICTION_BOUNDS
    """Of the score buckets."""


IID = Scenario()
WANDER = Scenario(wander=0.01, load=0.04)
SEASON = Scenario(wander=0.01, season=0.15, traffic=0.6, load=0.04, load_season=0.10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What goes wrong, for the whole stream."""

    law: str = "base"
    factor: float = 1.0
    latency_factor: float = 1.0


_LAWS: dict[str, Callable[[], Law]] = {
    "base": logit_normal,
    "var1.2": lambda: logit_normal(MEAN, STD * math.sqrt(1.2)),
    "var1.5": lambda: logit_normal(MEAN, STD * math.sqrt(1.5)),
    "var2": lambda: logit_normal(MEAN, STD * math.sqrt(2)),
    "var0.7": lambda: logit_normal(MEAN, STD * math.sqrt(0.7)),
    "beta": beta_shaped,
    "weibull": gamma_shaped,
    "bimodal": bimodal,
    "latency": latency_law,
    "ripple": lambda: rippled(logit_normal()),
}


def stream(
    rng: np.random.Generator,
    scenario: Scenario,
    ticks: int,
    *,
    start: float = 1_700_006_400.0,
    effect: Effect | None = None,
    after: int = 0,
) -> Ticks:
    """Draw a stream that starts at ``start``, in Unix seconds, and goes wrong after some ticks."""
    effect = effect or Effect()
    time: Floats = start + TICK_SECONDS * np.arange(1.0, ticks + 1)
    angle = 2 * math.pi * ((time - TICK_SECONDS / 2) % 86400) / 86400
    if scenario.by_hour:
        angle = (np.floor(angle / (2 * math.pi / 24)) + 0.5) * (2 * math.pi / 24)
    changed = np.arange(ticks) >= after
    rate = scenario.per_tick * (1 + scenario.traffic * np.sin(angle - 1.0))
    count = rng.poisson(rate) if scenario.traffic else np.full(ticks, round(scenario.per_tick))
    move = np.log1p(ar1(rng, ticks, scenario.wander, scenario.wander_seconds))
    move += np.log1p(scenario.season * np.sin(angle)) + changed * math.log(effect.factor)
    load = ar1(rng, ticks, scenario.load, 600.0) + changed * math.log(effect.latency_factor)
    load += np.log1p(scenario.load_season * np.sin(angle - 1.0))
    names = ("base", "base") if effect.law == "base" else ("base", effect.law)
    parts = [
        table(name, scenario.bounds).draw(rng, count[where], move[where])
        for name, where in zip(names, (~changed, changed), strict=True)
    ]
    buckets, total, squares = (np.concatenate(part) for part in zip(*parts, strict=True))
    slow_buckets, slow_total, slow_squares = table("latency", LATENCY_BOUNDS).draw(rng, count, load)
    return Ticks(
        time=time,
        predictions=Aggregates(
            total=total, squares=squares, buckets=buckets, bounds=np.asarray(scenario.bounds)
        ),
        latency=Aggregates(
            total=slow_total,
            squares=slow_squares,
            buckets=slow_buckets,
            bounds=np.asarray(LATENCY_BOUNDS),
        ),
    )
