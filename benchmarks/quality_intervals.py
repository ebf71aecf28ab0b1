"""How often the intervals of quality hold the truth: `python -m benchmarks.quality_intervals`.

Scores and clicks are drawn from a law whose true quality is known from four million draws. An
interval of 95 % should hold it in 95 % of samples, and miss it as often on either side.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.cohorts import cohort_of
from service.monitoring.quality.measures import Measure, Quality

Floats = NDArray[np.float64]

SPREAD = 0.8
"""Standard deviation of the true log-odds."""

ROWS_PER_USER = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """Log-odds of a click are normal; the model exaggerates their spread and scales the result."""

    rows: int
    centre: float
    """Mean log-odds."""
    exaggeration: float = 1.0
    factor: float = 1.0
    user_spread: float = 0.0
    """Standard deviation of the log-odds that users have and the model does not know."""

    def draw(
        self, rng: np.random.Generator, rows: int, *, users: int | None = None
    ) -> tuple[Floats, Floats]:
        """Draw scores and true click probabilities, both of shape ``(rows,)``.

        The user of rank r appears in proportion to r^-0.8; without ``users`` each row has its own.
        """
        deviation = rng.normal(0, SPREAD, rows)
        scores = self.factor * _expit(self.centre + self.exaggeration * deviation)
        # As a model answers: in single precision.
        rounded = np.clip(scores, 1e-7, 1 - 1e-7).astype(np.float32).astype(np.float64)
        of_users = rng.normal(0, self.user_spread, users or rows)
        if users is not None:
            weights = np.arange(1, users + 1) ** -0.8
            of_users = of_users[rng.choice(users, rows, p=weights / weights.sum())]
        return rounded, _expit(self.centre + deviation + of_users)

    def truth(self, rng: np.random.Generator) -> Mapping[Measure, float]:
        """Quality over all traffic."""
        scores, chances = self.draw(rng, 4_000_000)
        ctr = chances.mean()
        loss = -(chances * np.log(scores) + (1 - chances) * np.log1p(-scores)).mean()
        entropy = -(ctr * np.log(ctr) + (1 - ctr) * np.log1p(-ctr))
        order = np.argsort(scores)
        clicks, others = chances[order], 1 - chances[order]
        pairs = clicks @ (np.cumsum(others) - others / 2)
        return {
            Measure.CTR: float(ctr),
            Measure.CALIBRATION_RATIO: float(scores.mean() / ctr),
            Measure.LOG_LOSS: float(loss),
            Measure.NORMALIZED_ENTROPY: float(loss / entropy),
            Measure.AUC: float(pairs / clicks.sum() / others.sum()),
        }


LAWS = (
    Law(rows=300, centre=-4.3),
    Law(rows=1_000, centre=-4.3),
    Law(rows=1_000, centre=-4.3, exaggeration=1.5, factor=1.5),
    Law(rows=10_000, centre=-4.3),
    Law(rows=10_000, centre=-4.3, exaggeration=1.5, factor=1.5),
    Law(rows=400, centre=-1.5),
    Law(rows=10_000, centre=-4.3, user_spread=0.5),
    Law(rows=10_000, centre=-4.3, user_spread=1.0),
)


def coverage(law: Law, *, samples: int, seed: int) -> Mapping[Measure, float]:
    """Share of samples whose interval holds the truth, by measure."""
    rng = np.random.default_rng(seed)
    truth = law.truth(rng)
    held = dict.fromkeys(truth, 0)
    drawn = 0
    while drawn < samples:
        scores, chances = law.draw(rng, law.rows, users=law.rows // ROWS_PER_USER)
        quality = Quality.of(
            cohort_of(scores, rng.random(law.rows) < chances), min_predictions=1, min_clicks=1
        )
        if len(quality.estimates) < len(truth):
            continue  # Without a click there is no AUC to hold.
        drawn += 1
        for measure, (_, interval) in quality.estimates.items():
            held[measure] += interval.low <= truth[measure] <= interval.high
    return {measure: count / samples for measure, count in held.items()}


def _expit(log_odds: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-log_odds)))


def main() -> None:
    """Print the table of docs/quality.md."""
    for law in LAWS:
        found = coverage(law, samples=2000, seed=1)
        told = "  ".join(f"{name} {share:.3f}" for name, share in found.items())
        print(f"{law}\n  {told}", flush=True)


if __name__ == "__main__":
    main()
