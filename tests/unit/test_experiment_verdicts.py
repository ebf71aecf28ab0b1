"""What an experiment says: never too early, not of unequal users, and in words."""

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.experiment_readers import (
    chi_square,
    declares,
    declares_lift,
    finds_mismatch,
    one_cell_each,
    two_proportion_z,
)
from benchmarks.experiment_worlds import World, arms_of, course
from benchmarks.experiments import counts_at_first, heard, left_out
from benchmarks.obd import obd_course
from service.monitoring.cells import CELLS
from service.monitoring.counts import ModelVersion
from service.monitoring.experiment.arms import Arm, ArmCounts, Served
from service.monitoring.experiment.comparison import Verdict
from service.monitoring.experiment.report import ExperimentReport, ExperimentStatus, report
from service.monitoring.experiment.state import ExperimentState, Plan

EQUALS = World(tail=1.1, users=10_000, impressions=30_000)
OBD = Path(__file__).parents[3] / "shared" / "data" / "obd_dev.csv.gz"


def judged(world: World, *, seed: int = 1) -> ExperimentReport:
    one = course(np.random.default_rng(seed), world, 1)
    return report("test", list(one)[-1])


@pytest.mark.parametrize("weights", [(1.0, 1.0), (9.0, 1.0)])
def test_looked_at_a_hundred_times_equals_stay_equals(weights: tuple[float, ...]) -> None:
    readers = {"winner": declares, "mismatch": finds_mismatch}

    found = heard(readers, replace(EQUALS, weights=weights), runs=100, looks=100)

    assert found["winner"].ever <= 5
    assert found["mismatch"].ever <= 1


def test_who_takes_impressions_for_users_announces_in_the_same_experiments() -> None:
    readers = {"z": two_proportion_z, "chi-square": chi_square}

    found = heard(readers, EQUALS, runs=20, looks=20)

    assert found["z"].ever > 8
    assert found["chi-square"].ever > 15


def test_a_variance_of_impressions_would_be_found_out() -> None:
    differ = mismatches = 0
    for seed in range(20):
        one = course(np.random.default_rng(seed), replace(EQUALS, ctr_spread=1.5), 20)
        said = [report("planted", one_cell_each(arms)) for arms in one]
        intervals = [look.comparisons[0].interval for look in said]
        differ += any(found is not None and not found.low < 0 < found.high for found in intervals)
        mismatches += any(look.status is ExperimentStatus.MISMATCH for look in said)

    assert differ > 5
    assert mismatches > 10


def test_a_better_challenger_is_declared_and_never_the_other() -> None:
    world = World(tail=3.0, users=50_000, impressions=200_000, ctr=0.05, lift=0.2)

    clicks = counts_at_first(declares_lift, world, runs=10, looks=100, clicks=True)

    assert np.median(clicks) < 2000
    assert judged(world).comparisons[0].verdict is Verdict.BETTER
    worse = judged(replace(world, lift=-0.2)).comparisons[0]
    assert worse.verdict is Verdict.WORSE
    assert worse.sentence.startswith("b is worse than a: its CTR differs by between -")


def test_the_interval_keeps_the_true_difference_at_every_look() -> None:
    world = World(tail=1.5, users=10_000, impressions=30_000, lift=0.5)

    assert left_out(world, runs=40, looks=40) <= 2


def test_equals_are_called_so_once_the_interval_is_narrow() -> None:
    impressions = np.full(CELLS, 5_000_000.0)
    clicks = [np.random.default_rng(seed).binomial(5_000_000, 0.02, CELLS) for seed in (1, 2)]
    cells = np.array([[impressions] * 2, clicks], dtype=np.float64)

    said = report("test", arms_of((1.0, 1.0), *cells))

    assert said.comparisons[0].verdict is Verdict.EQUIVALENT
    assert "are equivalent" in said.summary
    narrower = report("test", [variant.arm for variant in said.variants], margin=1e-5)
    assert narrower.comparisons[0].verdict is not Verdict.EQUIVALENT


def test_lost_users_are_a_mismatch_and_withhold_the_verdict() -> None:
    world = World(tail=3.0, users=100_000, impressions=300_000, ctr=0.05, lift=0.3, lost=0.2)

    said = judged(world)

    assert said.status is ExperimentStatus.MISMATCH
    assert said.comparison is not None
    assert said.comparison.verdict is Verdict.UNDECIDED
    assert said.comparison.interval is not None
    assert said.summary.startswith("Sample-ratio mismatch:")


def test_a_giant_hides_no_mismatch() -> None:
    rng = np.random.default_rng(2)
    kept = rng.poisson(10_000, CELLS)
    lost = rng.poisson(9_000, CELLS)
    kept[5] += 500_000
    shown = np.stack([kept, lost]).astype(np.float64)

    said = report("test", arms_of((1.0, 1.0), shown, np.zeros((2, CELLS))))

    assert said.status is ExperimentStatus.MISMATCH
    sound = np.stack([kept, rng.poisson(10_000, CELLS)]).astype(np.float64)
    fine = report("test", arms_of((1.0, 1.0), sound, np.zeros((2, CELLS))))
    assert fine.status is not ExperimentStatus.MISMATCH


def test_one_arm_that_lost_users_among_three_is_named() -> None:
    world = World(tail=3.0, users=100_000, impressions=300_000, weights=(2.0, 1.0, 1.0), lost=0.4)

    said = judged(world)

    assert said.status is ExperimentStatus.MISMATCH
    assert "mismatch: c has" in said.summary
    assert said.sample_ratio is not None
    assert [share.expected for share in said.sample_ratio.shares] == [0.5, 0.25, 0.25]


def test_every_challenger_has_its_own_comparison_at_its_share_of_the_level() -> None:
    world = World(tail=3.0, impressions=200_000, ctr=0.05, lift=0.5, weights=(1.0, 1.0, 1.0))

    said = judged(world)

    assert [one.challenger for one in said.comparisons] == ["b", "c"]
    assert [one.evidence_threshold for one in said.comparisons] == pytest.approx([np.log(40)] * 2)
    assert said.comparison is said.comparisons[1]
    assert said.comparison.verdict is Verdict.BETTER


def test_without_impressions_or_clicks_nothing_is_a_number() -> None:
    nothing = [
        Arm(model=ModelVersion(name, "1"), weight=1.0, counts=ArmCounts.nothing()) for name in "ab"
    ]

    said = report("test", nothing)

    assert said.status is ExperimentStatus.INSUFFICIENT_DATA
    comparison = said.comparisons[0]
    assert (comparison.difference, comparison.interval, comparison.evidence) == (None,) * 3
    assert said.variants[0].ctr is None
    assert said.sample_ratio is not None
    assert said.sample_ratio.evidence is None
    assert said.summary == "Undecided: no impressions of a and b yet."

    impressions = np.full(CELLS, 9.0, dtype=np.float64)
    shown = [replace(arm, counts=replace(arm.counts, impressions=impressions)) for arm in nothing]
    clickless = report("test", shown)
    assert clickless.status is ExperimentStatus.INSUFFICIENT_DATA
    assert clickless.variants[0].ctr == 0
    assert clickless.comparisons[0].interval is None


def test_a_baseline_without_clicks_can_be_beaten_and_words_say_what_the_verdict_says() -> None:
    rng = np.random.default_rng(5)
    clicks = np.stack([np.zeros(CELLS), rng.binomial(1000, 0.02, CELLS)])

    said = report("test", arms_of((1.0, 1.0), np.full((2, CELLS), 1000.0), clicks)).comparisons[0]

    assert said.verdict is Verdict.BETTER
    assert said.sentence.startswith("b is better than a: its CTR differs by between +1.")
    assert said.sentence.endswith("% of the impressions.")


def test_one_variant_is_no_experiment() -> None:
    only = Arm(model=ModelVersion("a", "1"), weight=1.0, counts=ArmCounts.nothing())

    said = report("none", [only])

    assert said.status is ExperimentStatus.NO_EXPERIMENT
    assert said.comparison is None
    assert said.sample_ratio is None


def test_a_state_survives_its_serialisation_and_knows_its_experiment() -> None:
    plan = Plan(
        name="x",
        key="x.1",
        fingerprint=1,
        weights={"a": 1.0, "b": 3.0},
        versions={"a": "1", "b": "7"},
    )
    brought = ArmCounts(
        impressions=np.arange(CELLS, dtype=np.float64),
        clicks=np.linspace(0.0, 1 / 3, CELLS),
        served=Served(requests=5, errors=1, duration_seconds=0.1, durations=5, predictions=7),
    )
    growth = {ModelVersion("a", "1"): brought, ModelVersion("b", "7"): ArmCounts.nothing()}

    state = ExperimentState.begin(plan, 600).advanced(growth, until=660, at=720)
    again = ExperimentState.from_json(state.advanced(growth, until=720, at=780).to_json())

    assert (again.began, again.until, again.at) == (600, 720, 780)
    assert np.array_equal(again.arms[0].counts.clicks, 2 * brought.clicks)
    assert again.arms[0].counts.served.requests == 10
    assert again.is_of(plan)
    assert not again.is_of(replace(plan, versions={"a": "1", "b": "8"}))
    assert not again.is_of(replace(plan, key="x.2"))
    with pytest.raises(ValueError, match="not the state"):
        ExperimentState.from_json("[]")


def test_ratios_of_nothing_are_no_numbers() -> None:
    nothing = Served()
    assert (nothing.error_ratio, nothing.mean_seconds, nothing.calibration_ratio) == (None,) * 3
    served = Served(requests=4, errors=1, duration_seconds=2.0, durations=4)
    assert (served.error_ratio, served.mean_seconds) == (0.25, 0.5)
    assert Served(predicted_clicks=5.0, clicks=4.0).calibration_ratio == 1.25


@pytest.mark.skipif(not OBD.exists(), reason="the log is not part of the project")
def test_of_a_real_log_a_naive_reader_declares_winners_and_ours_does_not() -> None:
    with gzip.open(OBD, "rt", encoding="utf-8") as lines:
        logged = obd_course(lines, looks=100)
    looks = [(arms, report("obd", arms)) for arms in logged]

    assert any(two_proportion_z(*look) for look in looks)
    assert not any(declares(*look) for look in looks)
