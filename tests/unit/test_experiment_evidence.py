"""Evidence in a sum over cells, against enumeration, numerical integration and hand counts."""

import math
from itertools import product

import numpy as np
import pytest
from scipy import integrate, optimize, stats

from service.monitoring.cells import CELLS
from service.monitoring.counts import ModelVersion
from service.monitoring.experiment.arms import Arm, ArmCounts, Floats, Served
from service.monitoring.experiment.ctr import ctr_interval, difference
from service.monitoring.experiment.evidence import CellSum, sharpest_at

RNG = np.random.default_rng(3)


def arm(impressions: Floats, clicks: Floats, *, weight: float = 1.0, name: str = "a") -> Arm:
    return Arm(
        model=ModelVersion(name, "1"),
        weight=weight,
        counts=ArmCounts(impressions=impressions, clicks=clicks, served=Served()),
    )


def random_arm(ctr: float, *, weight: float = 1.0, name: str = "a") -> Arm:
    impressions = RNG.poisson(400 * weight, CELLS).astype(float)
    clicks = RNG.binomial(impressions.astype(int), ctr).astype(np.float64)
    return arm(impressions, clicks, weight=weight, name=name)


def test_the_evidence_is_the_mixture_of_likelihood_ratios_over_normal_tilts() -> None:
    terms = CellSum.symmetric(RNG.standard_normal(CELLS) + 0.3, np.ones(CELLS))
    total, variance, scale = terms.numerators.sum(), terms.variance(0.0), 20.0

    def ratio(tilt: float) -> float:
        likelihood = math.exp(tilt * total - tilt**2 * variance / 2)
        return likelihood * float(stats.norm.pdf(tilt, scale=1 / math.sqrt(scale)))

    mixed, _ = integrate.quad(ratio, -5, 5, epsabs=0)

    assert terms.log_evidence(0.0, scale) == pytest.approx(math.log(mixed))


def test_under_symmetry_one_look_keeps_its_promise_for_every_size_of_cells() -> None:
    signs = np.array(list(product([-1.0, 1.0], repeat=12)))
    for sizes in (np.ones(12), np.geomspace(1, 1e6, 12), RNG.pareto(1.1, 12)):
        ratio = np.abs((signs * sizes).sum(axis=1)) / math.sqrt((sizes**2).sum())
        for q in (1.5, 2.0, 2.5, 3.0):
            assert (ratio >= q).mean() <= 2 * math.exp(-(q**2) / 2)


@pytest.mark.parametrize("share", [0.5, 0.1, 0.05])
def test_with_unequal_shares_the_variance_of_both_kinds_bounds_every_tilt(share: float) -> None:
    # Each cell is one giant: all or nothing of it is the small arm's.
    sizes = np.geomspace(1, 20, 10)
    taken = np.array(list(product([0.0, 1.0], repeat=10)))
    chance = np.prod(np.where(taken == 1, share, 1 - share), axis=1)
    terms = (taken - share) * sizes
    true = share * (1 - share) * (sizes**2).sum()
    variance = (terms**2).sum(axis=1) / 3 + 2 * true / 3
    alone = (terms**2).sum(axis=1)

    def mean(tilt: float, spread: Floats) -> float:
        return float(chance @ np.exp(tilt * terms.sum(axis=1) - tilt**2 * spread / 2))

    tilts = np.linspace(-2, 2, 401)
    assert max(mean(tilt, variance) for tilt in tilts) <= 1 + 1e-12
    if share < 0.5:
        assert max(mean(tilt, alone) for tilt in tilts) > 1.05


def test_an_interval_holds_the_values_without_evidence_against_them() -> None:
    baseline, challenger = random_arm(0.05), random_arm(0.06, weight=0.3, name="b")
    terms = difference(baseline, challenger)
    assert terms is not None
    scale, level = 4.0, 0.05
    found = terms.interval(level=level, scale=scale, time_at=0.0)
    assert found is not None
    time = terms.variance(0.0)
    reach = -2 * math.log(level) + math.log((time + scale) / scale)

    def excess(value: float) -> float:
        total = float((terms.numerators - value * terms.weights).sum())
        return total**2 - reach * (terms.variance(value) + scale)

    middle = terms.estimate()
    assert found.low == pytest.approx(optimize.brentq(excess, middle - 0.5, middle))
    assert found.high == pytest.approx(optimize.brentq(excess, middle, middle + 0.5))


@pytest.mark.parametrize("ctr", [0.05, 0.052, 0.055, 0.057, 0.06, 0.07])
def test_zero_is_outside_exactly_when_the_evidence_against_it_is_there(ctr: float) -> None:
    for _ in range(20):
        terms = difference(random_arm(0.05), random_arm(ctr, name="b"))
        assert terms is not None
        found = terms.interval(level=0.05, scale=16.0, time_at=0.0)
        assert found is not None
        enough = terms.log_evidence(0.0, 16.0) >= math.log(20)
        assert enough == (not found.low < 0 < found.high)


def test_the_estimate_is_the_difference_of_the_rates_whatever_the_shares() -> None:
    for weight in (1.0, 0.1):
        baseline, challenger = random_arm(0.05), random_arm(0.07, weight=weight, name="b")
        terms = difference(baseline, challenger)

        assert terms is not None
        expected = (challenger.counts.ctr or 0) - (baseline.counts.ctr or 0)
        assert terms.estimate() == pytest.approx(expected)


def test_which_arm_is_called_the_baseline_changes_only_the_sign() -> None:
    one, two = random_arm(0.05), random_arm(0.06, name="b")
    there, back = difference(one, two), difference(two, one)
    assert there is not None
    assert back is not None

    found = there.interval(level=0.05, scale=16.0, time_at=0.0)
    other = back.interval(level=0.05, scale=16.0, time_at=0.0)

    assert found is not None
    assert other is not None
    assert (found.low, found.high) == pytest.approx((-other.high, -other.low))
    assert there.log_evidence(0.0, 16.0) == pytest.approx(back.log_evidence(0.0, 16.0))


def test_of_many_alike_users_the_variance_is_that_of_their_clicks() -> None:
    impressions = np.full(CELLS, 100_000.0)
    clicks = [RNG.binomial(100_000, 0.02, CELLS).astype(np.float64) for _ in range(2)]
    terms = difference(arm(impressions, clicks[0]), arm(impressions, clicks[1], name="b"))
    assert terms is not None

    # p (1 - p) times all clicks; 64 cells know it within some 18 %.
    expected = sum(float(cell.sum()) for cell in clicks) / 4

    assert terms.variance(0.0) == pytest.approx(expected, rel=0.6)


def test_one_giant_decides_nothing() -> None:
    impressions, clicks = np.ones(CELLS), np.zeros(CELLS)
    other, clicked = impressions.copy(), clicks.copy()
    other[7], clicked[7] = 1_000_000, 500_000

    terms = difference(arm(impressions, clicks), arm(other, clicked, name="b"))

    assert terms is not None
    assert terms.interval(level=0.05, scale=16.0, time_at=0.0) is None
    assert terms.log_evidence(0.0, 16.0) < 1


def test_a_boundary_is_lowest_where_it_was_made_to_be() -> None:
    def squared_boundary(scale: float) -> float:
        return (500 + scale) * (2 * math.log(20) + math.log((500 + scale) / scale))

    best = optimize.minimize_scalar(squared_boundary, bounds=(1, 500), method="bounded")

    assert squared_boundary(sharpest_at(500, 0.05)) <= 1.01 * best.fun


def test_an_interval_of_a_rate_is_as_wide_as_theory_says_and_stays_a_rate() -> None:
    counts = arm(np.full(CELLS, 1000.0), np.full(CELLS, 20.0) + RNG.integers(-3, 4, CELLS)).counts
    found = ctr_interval(counts, 0.05)
    assert found is not None
    assert counts.ctr is not None
    assert found.low < counts.ctr < found.high
    # A fixed-horizon interval of as many independent clicks; looking at any time costs more.
    fixed = 1.96 * math.sqrt(counts.ctr / float(counts.impressions.sum()))
    assert 0.5 * fixed < found.high - counts.ctr < 2.5 * fixed

    none = ctr_interval(arm(np.full(CELLS, 50.0), np.zeros(CELLS)).counts, 0.05)
    assert none is not None
    assert none.low == 0
    assert 0 < none.high < 0.02
    assert ctr_interval(ArmCounts.nothing(), 0.05) is None


def test_of_several_scales_the_evidence_is_the_mean_and_does_not_overflow() -> None:
    terms = CellSum.symmetric(np.linspace(0.5, 1.5, CELLS), np.ones(CELLS))
    alone = [terms.log_evidence(0.0, scale) for scale in (1.0, 100.0)]

    assert terms.log_evidence(0.0, 1.0, 100.0) == pytest.approx(np.log(np.mean(np.exp(alone))))
    huge = CellSum.symmetric(np.full(10_000, 1.0), np.ones(10_000))
    assert huge.log_evidence(0.0, 1.0, 1.0) > 1000


def test_cells_of_another_number_are_refused() -> None:
    with pytest.raises(ValueError, match="clicks: give 64 cells"):
        ArmCounts(impressions=np.zeros(CELLS), clicks=np.zeros(3), served=Served())
    with pytest.raises(ValueError, match="impressions: counts"):
        ArmCounts(impressions=np.full(CELLS, -1.0), clicks=np.zeros(CELLS), served=Served())
