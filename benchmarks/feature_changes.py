"""Changes of what a model is asked, and the usual tools that look for them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from benchmarks.feature_streams import VALUES, Floats, Shares
from service.monitoring.feature_drift.bets import BLOCK_SECONDS
from service.monitoring.feature_drift.detector import FeatureDetector
from service.monitoring.feature_drift.stability import population_stability_index
from service.monitoring.feature_drift.state import FeatureState

Change = Callable[[Shares], None]


def move(feature: str, origin: str, target: str, points: float) -> Change:
    """Take a share from one value and give it to another."""
    source, gains = VALUES[feature].index(origin), VALUES[feature].index(target)

    def change(shares: Shares) -> None:
        taken = np.minimum(shares[feature][:, source], points)
        shares[feature][:, source] -= taken
        shares[feature][:, gains] += taken

    return change


def later_hour(shares: Shares) -> None:
    """Everybody names the hour after the one that it is."""
    shares["hour"] = np.roll(shares["hour"], 1, axis=1)


def without_placement(shares: Shares) -> None:
    """The greatest placement is gone."""
    shares["placement"][:, 0] = 0
    shares["placement"] /= shares["placement"].sum(axis=1, keepdims=True)


CHANGES: Mapping[str, tuple[str, Change]] = {
    "device +5 points": ("device", move("device", "desktop", "mobile", 0.05)),
    "device +20 points": ("device", move("device", "desktop", "mobile", 0.2)),
    "new ads, +30 points": ("ad", move("ad", "(seen)", "(unseen)", 0.3)),
    "new ads, +60 points": ("ad", move("ad", "(seen)", "(unseen)", 0.6)),
    "a placement gone": ("placement", without_placement),
    "hour shifted by one": ("hour", later_hour),
}
"""Which feature changes, and how."""


def after(change: Change, onset: float) -> Callable[[Shares, Floats], None]:
    """Let a change begin at a time in Unix seconds."""

    def apply(shares: Shares, time: Floats) -> None:
        late = time > onset
        changed = {feature: part[late] for feature, part in shares.items()}
        change(changed)
        for feature, part in changed.items():
            shares[feature][late] = part

    return apply


@dataclass(frozen=True, slots=True)
class Peer:
    """A test of the last hour alone, against the same hours of the baseline."""

    name: str
    alarms: Callable[[Floats, Floats], bool]
    """Given the expected shares and the rows by value."""


def _chi_square(expected: Floats, counts: Floats) -> float:
    """P of the goodness of fit; values that ought not to occur count as half a row."""
    among = np.maximum(expected * counts.sum(), 0.5)
    statistic = float(((counts - among) ** 2 / among).sum())
    return float(stats.chi2.sf(statistic, len(counts) - 1))


def _psi_above(limit: float) -> Peer:
    return Peer(f"PSI > {limit:g}", lambda p, n: population_stability_index(p, n) > limit)


def _chi_square_below(level: float) -> Peer:
    return Peer(f"chi-square, p < {level:g}", lambda p, n: _chi_square(p, n) < level)


PEERS = (_psi_above(0.1), _psi_above(0.2), _chi_square_below(0.01), _chi_square_below(1e-6))


def last_hour(
    detector: FeatureDetector, state: FeatureState
) -> Mapping[str, tuple[Floats, Floats]]:
    """Expected shares and rows by value, of each feature."""
    blocks = state.blocks[-round(3600 / BLOCK_SECONDS) :]
    found: dict[str, tuple[Floats, Floats]] = {}
    for feature, course in detector.courses.items():
        part = detector.part_of(feature)
        counts = np.sum([block.counts[part] for block in blocks], axis=0)
        expected = np.sum(
            [b.counts[part].sum() * course.at(b.middle).shares for b in blocks], axis=0
        )
        if counts.sum():
            found[feature] = (expected / expected.sum(), counts)
    return found
