"""Simulated cohorts of a minute: what was predicted and what was clicked."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.drift_streams import logit_normal
from service.monitoring.buckets import PREDICTION_BOUNDS
from service.monitoring.calibration.ticks import CalibrationTicks, Floats

MINUTES_PER_DAY = 1440
_ATOMS = 60
"""Equally likely scores; some six of them share a bucket."""
_RELATIVE_SPREAD = 0.5
_USERS = 20_000
_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Traffic and how the ratio of clicks to predictions moves without anything being wrong."""

    ctr: float = 0.02
    per_minute: float = 1000.0
    """Predictions."""
    ratio: float = 1.0
    wander: float = 0.0
    """Standard deviation of a first-order autoregression of the ratio."""
    wander_minutes: float = 30.0
    """Its time constant."""
    season: float = 0.0
    """Amplitude of the ratio over the day; where there is one, traffic moves by 60 %."""
    users: bool = False
    """Whether power-law users come in sessions, each with a click rate of its own for good."""

    def scores(self) -> Floats:
        """Equally likely predictions, ascending."""
        law = logit_normal(self.ctr, _RELATIVE_SPREAD * self.ctr)
        step = len(law) // _ATOMS
        return np.asarray(law[step // 2 :: step][:_ATOMS])


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What goes wrong from some minute on."""

    at: int = 0
    ratio: float = 1.0
    """Clicks for one that was predicted."""
    power: float = 1.0
    """Click rates grow with this power of the prediction; below 1 the model is over-confident."""

    def factors(self, scores: Floats) -> Floats:
        """What the ratio of each score is multiplied by."""
        shape = scores ** (self.power - 1)
        return np.asarray(self.ratio * shape * scores.sum() / (shape @ scores))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stream:
    """Cohorts by score, shape ``(t, a)``."""

    scores: Floats
    predictions: NDArray[np.int64]
    clicks: NDArray[np.int64]

    def ticks(self, start: float = 0.0) -> CalibrationTicks:
        """As the detector sees them."""
        buckets = len(PREDICTION_BOUNDS) + 1
        bucket = np.searchsorted(PREDICTION_BOUNDS, self.scores)
        place = np.zeros((len(self.scores), buckets))
        place[np.arange(len(self.scores)), bucket] = 1.0
        begin = start + _SECONDS * np.arange(len(self.predictions), dtype=np.float64)
        return CalibrationTicks(
            start=begin,
            end=begin + _SECONDS,
            counts=self.predictions @ place,
            promised=self.predictions @ self.scores,
            squares=self.predictions @ self.scores**2,
            clicks=self.clicks.sum(axis=1) * 1.0,
            clicked=self.clicks @ self.scores,
        )


def stream(
    rng: np.random.Generator, scenario: Scenario, minutes: int, change: Change | None = None
) -> Stream:
    """Simulate."""
    scores = scenario.scores()
    minute = np.arange(minutes)
    ratio = scenario.ratio * (1 + _autoregression(rng, scenario, minutes))
    daily = np.sin(2 * np.pi * minute / MINUTES_PER_DAY)
    ratio *= 1 + scenario.season * daily
    rate = scenario.per_minute * (1 + (0.6 * daily if scenario.season else 0.0))
    truth = np.multiply.outer(ratio, scores)
    if change is not None:
        truth[change.at :] *= change.factors(scores)
    if scenario.users:
        return _by_users(rng, rate * np.ones(minutes), scores, truth)
    shape = (minutes, len(scores))
    predictions = rng.poisson(np.broadcast_to(rate, minutes)[:, None] / len(scores), shape)
    clicks = rng.binomial(predictions, np.minimum(truth, 1.0))
    return Stream(scores=scores, predictions=predictions, clicks=clicks)


def _autoregression(rng: np.random.Generator, scenario: Scenario, minutes: int) -> Floats:
    if not scenario.wander:
        return np.zeros(minutes)
    decay = math.exp(-1 / scenario.wander_minutes)
    news = rng.normal(0.0, scenario.wander * math.sqrt(1 - decay**2), minutes)
    level = rng.normal(0.0, scenario.wander)
    levels = np.empty(minutes)
    for t, new in enumerate(news.tolist()):
        level = decay * level + new
        levels[t] = level
    return levels


def _by_users(rng: np.random.Generator, rate: Floats, scores: Floats, truth: Floats) -> Stream:
    """Sessions of a Pareto number of impressions within minutes, users by Zipf's law.

    The model is calibrated over all of them: effects have mean 1 when weighted by traffic.
    """
    minutes, atoms = truth.shape
    share = 1.0 / np.arange(1, _USERS + 1)
    share /= share.sum()
    effect = rng.gamma(2.0, 0.5, _USERS)
    effect /= share @ effect
    mean_size = 6.0
    sessions = int(rng.poisson(rate.sum() / mean_size))
    begin = rng.choice(minutes, sessions, p=rate / rate.sum())
    # Pareto with index 2.2: mean 11/6 scales, a session in a thousand is 20 times that.
    size = np.ceil((rng.pareto(2.2, sessions) + 1) * mean_size * 6 / 11 - 0.5).astype(np.int64)
    user = rng.choice(_USERS, sessions, p=share)
    session = np.repeat(np.arange(sessions), size)
    minute = begin[session] + rng.exponential(3.0, len(session)).astype(np.int64)
    inside = minute < minutes
    session, minute = session[inside], minute[inside]
    atom = rng.integers(0, atoms, len(session))
    chance = np.minimum(truth[minute, atom] * effect[user[session]], 1.0)
    clicked = rng.random(len(session)) < chance
    cell = minute * atoms + atom
    predictions = np.bincount(cell, minlength=minutes * atoms).reshape(minutes, atoms)
    clicks = np.bincount(cell[clicked], minlength=minutes * atoms).reshape(minutes, atoms)
    return Stream(scores=scores, predictions=predictions, clicks=clicks)
