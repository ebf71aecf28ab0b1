"""Quality from sums and buckets, against scikit-learn and scipy on the single predictions."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import log_loss, roc_auc_score

from benchmarks.cohorts import cohort_of
from benchmarks.quality_intervals import Law, coverage
from service.monitoring.buckets import PREDICTION_BOUNDS
from service.monitoring.clicks import NO_CLICKS, Cohort
from service.monitoring.histogram import HistogramCounts
from service.monitoring.quality.intervals import clicks_per_expected, wilson
from service.monitoring.quality.measures import Quality, QualityStatus, Shortage
from service.monitoring.quality.score_buckets import estimated_means

Floats = NDArray[np.float64]
Clicked = NDArray[np.bool_]
Rows = tuple[Floats, Clicked]


def simulated(rows: int, *, seed: int, centre: float = -3.5) -> Rows:
    rng = np.random.default_rng(seed)
    scores = 1 / (1 + np.exp(-rng.normal(centre, 1.0, rows)))
    return scores, rng.random(rows) < scores


def quality(rows: Rows, *, min_predictions: int = 100) -> Quality:
    return Quality.of(cohort_of(*rows), min_predictions=min_predictions)


@st.composite
def rows_of_both_kinds(draw: st.DrawFn) -> Rows:
    """Scores that repeat, that sit on bounds of buckets, and that do neither."""
    count = draw(st.integers(2, 60))
    score = st.one_of(
        st.sampled_from([*PREDICTION_BOUNDS[:-1], 0.015, 0.5]),
        st.floats(1e-6, 1 - 1e-6),
    )
    scores = draw(arrays(np.float64, count, elements=score))
    clicked = draw(arrays(np.bool_, count))
    clicked[0], clicked[1] = True, False
    return scores, clicked


@pytest.mark.parametrize("centre", [-6.0, -3.5, 0.0, 2.0])
def test_log_loss_is_that_of_scikit_learn_on_the_single_predictions(centre: float) -> None:
    scores, clicked = simulated(20_000, seed=3, centre=centre)

    losses = quality((scores, clicked)).losses

    assert losses is not None
    expected = log_loss(clicked, scores)
    assert losses.log_loss == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert losses.normalized_entropy == pytest.approx(
        expected / log_loss(clicked, np.full(len(clicked), clicked.mean())), rel=1e-9
    )


@given(rows_of_both_kinds())
def test_sums_give_loss_ctr_and_calibration_exactly(rows: Rows) -> None:
    scores, clicked = rows
    found = quality(rows)

    assert found.losses is not None
    assert found.losses.log_loss == pytest.approx(log_loss(clicked, scores), rel=1e-9, abs=1e-12)
    assert found.ctr == clicked.mean()
    assert found.mean_prediction == pytest.approx(scores.mean(), rel=1e-12)
    assert found.calibration_ratio == pytest.approx(scores.mean() / clicked.mean(), rel=1e-12)
    assert (found.predictions, found.clicks) == (len(scores), clicked.sum())


@given(rows_of_both_kinds())
def test_the_true_auc_is_never_outside_its_bounds(rows: Rows) -> None:
    scores, clicked = rows
    ranking = quality(rows).ranking

    assert ranking is not None
    low, high = ranking.bounds
    assert low - 1e-12 <= roc_auc_score(clicked, scores) <= high + 1e-12
    assert low <= ranking.auc <= high
    assert 0 <= ranking.interval.low <= low <= high <= ranking.interval.high <= 1


@given(rows_of_both_kinds())
def test_the_auc_gives_half_credit_within_a_bucket(rows: Rows) -> None:
    scores, clicked = rows
    bucket = np.searchsorted(PREDICTION_BOUNDS, scores, side="left")
    ranking = quality(rows).ranking

    assert ranking is not None
    assert ranking.auc == pytest.approx(roc_auc_score(clicked, bucket), abs=1e-12)


@given(rows_of_both_kinds(), st.integers(0, 2**32))
def test_the_order_of_predictions_is_of_no_account(rows: Rows, seed: int) -> None:
    scores, clicked = rows
    order = np.random.default_rng(seed).permutation(len(scores))

    assert quality(rows) == quality((scores[order], clicked[order]))


@given(rows_of_both_kinds(), rows_of_both_kinds())
def test_cohorts_add_up(first: Rows, second: Rows) -> None:
    both = (np.concatenate((first[0], second[0])), np.concatenate((first[1], second[1])))
    together = Quality.of(added(cohort_of(*first), cohort_of(*second)), min_predictions=1)
    expected = quality(both, min_predictions=1)

    assert together.losses is not None
    assert expected.losses is not None
    assert together.losses.log_loss == pytest.approx(expected.losses.log_loss, rel=1e-12)
    assert together.ranking == expected.ranking
    assert together.calibration_ratio == pytest.approx(expected.calibration_ratio, rel=1e-12)


def added(one: Cohort, other: Cohort) -> Cohort:
    mine, its = one.predictions, other.predictions
    return replace(
        one,
        predictions=HistogramCounts(
            bounds=mine.bounds,
            cumulative=mine.cumulative + its.cumulative,
            total=mine.total + its.total,
            total_of_squares=mine.total_of_squares + its.total_of_squares,
        ),
        negative_log_complement=one.negative_log_complement + other.negative_log_complement,
        clicks=replace(
            one.clicks,
            prediction=one.clicks.prediction + other.clicks.prediction,
            negative_log=one.clicks.negative_log + other.clicks.negative_log,
            negative_log_complement=one.clicks.negative_log_complement
            + other.clicks.negative_log_complement,
            by_bucket=one.clicks.by_bucket + other.clicks.by_bucket,
        ),
    )


@given(rows_of_both_kinds())
def test_the_reliability_curve_counts_exactly_and_estimates_means_within_their_buckets(
    rows: Rows,
) -> None:
    scores, clicked = rows
    curve = quality(rows).reliability

    for row in curve:
        inside = (scores > row.lower) & (scores <= row.upper)
        assert row.predictions == inside.sum()
        assert row.clicks == clicked[inside].sum()
        assert row.lower <= row.mean_prediction <= row.upper
        assert row.ctr == pytest.approx(clicked[inside].mean())
        assert row.ctr_interval.low <= row.ctr <= row.ctr_interval.high
    assert sum(row.predictions for row in curve) == len(scores)
    total = math.fsum(row.predictions * row.mean_prediction for row in curve)
    assert total == pytest.approx(math.fsum(scores), rel=1e-9)


def test_estimated_means_are_closer_to_the_truth_than_the_middles_of_the_buckets() -> None:
    rng = np.random.default_rng(8)
    scores = 1 / (1 + np.exp(-rng.normal(-3.5, 1.0, 200_000)))
    curve = quality((scores, rng.random(len(scores)) < scores)).reliability
    true = np.array([scores[(scores > r.lower) & (scores <= r.upper)].mean() for r in curve])
    middle = np.array([(row.lower + row.upper) / 2 for row in curve])
    estimated = np.array([row.mean_prediction for row in curve])
    count = np.array([row.predictions for row in curve])

    off, off_middle = (
        np.average(abs(found / true - 1), weights=count) for found in (estimated, middle)
    )
    assert off < 0.002
    assert off < off_middle / 3


def test_where_every_score_is_on_a_bound_the_means_are_there_too() -> None:
    counts, lower, upper = np.array([3.0, 4.0]), np.array([0.1, 0.2]), np.array([0.2, 0.4])

    means = estimated_means(counts, lower, upper, total=3 * 0.2 + 4 * 0.4)

    assert means == pytest.approx([0.2, 0.4], rel=1e-12)


def test_wilson_is_that_of_scipy() -> None:
    for successes, trials in ((0, 30), (1, 30), (17, 400), (30, 30)):
        expected = stats.binomtest(successes, trials).proportion_ci(method="wilson")
        assert wilson(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_with_equal_predictions_the_calibration_interval_is_wilsons() -> None:
    low, high = wilson(17, 400)

    found = clicks_per_expected(17, 400 * 0.05, 400 * 0.05**2)

    assert found == pytest.approx((low / 0.05, high / 0.05), rel=1e-12)


def test_with_small_predictions_the_calibration_interval_is_that_of_a_poisson_count() -> None:
    expected, clicks, z = 50.0, 60, stats.norm.ppf(0.975)

    low, high = clicks_per_expected(clicks, expected, 0.0)

    # The score interval of a Poisson mean: (k - m)^2 = z^2 m.
    reach = z * math.sqrt(clicks + z**2 / 4)
    assert low == pytest.approx((clicks + z**2 / 2 - reach) / expected, rel=1e-12)
    assert high == pytest.approx((clicks + z**2 / 2 + reach) / expected, rel=1e-12)


@pytest.mark.parametrize(
    "law",
    [
        Law(rows=1_000, centre=-4.3),
        Law(rows=10_000, centre=-4.3, exaggeration=1.5, factor=1.5),
        Law(rows=400, centre=-1.5),
    ],
)
def test_intervals_hold_the_truth_as_often_as_they_say(law: Law) -> None:
    held = coverage(law, samples=400, seed=5)

    # 95 %, less what a normal approximation loses with 20 clicks and 400 samples miss by chance.
    assert all(share >= 0.91 for share in held.values()), held


@pytest.mark.parametrize("centre", [-3.5, 0.0])
def test_the_entropy_s_interval_is_as_wide_as_resampled_rows_say(centre: float) -> None:
    scores, clicked = simulated(4_000, seed=9, centre=centre)
    rng = np.random.default_rng(10)
    entropies = []
    for _ in range(600):
        rows = rng.integers(0, len(scores), len(scores))
        constant = np.full(len(rows), clicked[rows].mean())
        entropies.append(log_loss(clicked[rows], scores[rows]) / log_loss(clicked[rows], constant))

    losses = quality((scores, clicked)).losses

    assert losses is not None
    assert losses.normalized_entropy_interval is not None
    low, high = losses.normalized_entropy_interval
    # 600 samples know a deviation to 3 %.
    assert (high - low) / 2 / 1.96 == pytest.approx(np.std(entropies), rel=0.12)


def test_without_predictions_there_are_no_numbers() -> None:
    empty = Cohort(
        start=10.0,
        end=20.0,
        predictions=HistogramCounts(
            bounds=np.array([]), cumulative=np.array([]), total=0.0, total_of_squares=0.0
        ),
        negative_log_complement=0.0,
        clicks=NO_CLICKS,
    )

    found = Quality.of(empty, min_predictions=100)

    assert (found.predictions, found.clicks, found.reliability) == (0, 0, ())
    assert (found.ctr, found.mean_prediction, found.calibration_ratio) == (None, None, None)
    assert (found.losses, found.ranking, found.calibration_interval) == (None, None, None)
    assert (found.status, found.shortage) == (
        QualityStatus.INSUFFICIENT_DATA,
        Shortage.PREDICTIONS,
    )
    assert (found.window_start, found.window_end) == (10.0, 20.0)


def test_without_clicks_what_needs_one_is_absent_and_not_zero() -> None:
    scores = np.full(1_000, 0.02)

    found = quality((scores, np.zeros(1_000, dtype=np.bool_)))

    assert found.shortage is Shortage.CLICKS
    assert found.ctr == 0
    assert found.losses is not None
    assert found.losses.log_loss == pytest.approx(-math.log(0.98))
    assert (found.calibration_ratio, found.losses.normalized_entropy) == (None, None)
    assert found.ranking is None
    # Twenty clicks were expected and none came: the ratio is great, nobody knows how great.
    assert found.calibration_interval is not None
    assert 4 < found.calibration_interval.low < 6
    assert found.calibration_interval.high == math.inf


@pytest.mark.parametrize("score", [1e-300, 1e-170])
def test_a_model_that_promises_next_to_nothing_is_judged_like_any_other(score: float) -> None:
    found = quality((np.full(1_000, score), np.arange(1_000) < 30))

    # The score interval of a Poisson mean, as above: their squares are too small to be known.
    z = stats.norm.ppf(0.975)
    reach = z * math.sqrt(30 + z**2 / 4)
    assert found.status is QualityStatus.OK
    assert found.calibration_interval == pytest.approx(
        [1_000 * score / (30 + z**2 / 2 + side * reach) for side in (1, -1)], rel=1e-9, abs=0
    )


def test_where_everything_is_clicked_nothing_is_ranked() -> None:
    found = quality((np.full(1_000, 0.6), np.ones(1_000, dtype=np.bool_)))

    assert found.shortage is Shortage.NON_CLICKS
    assert found.ranking is None
    assert found.losses is not None
    assert found.losses.log_loss == pytest.approx(-math.log(0.6))
    assert found.losses.normalized_entropy is None


def test_a_perfect_ranking_of_few_clicks_is_not_taken_for_certain() -> None:
    scores = np.array([0.5] * 25 + [0.01] * 975)

    ranking = quality((scores, scores > 0.1)).ranking

    assert ranking is not None
    assert ranking.bounds == (1.0, 1.0)
    assert ranking.interval == pytest.approx(wilson(25, 25), rel=1e-12)


def test_scores_that_are_all_in_one_bucket_say_nothing_about_ranking() -> None:
    ranking = quality((np.full(1_000, 0.03), np.arange(1_000) % 30 == 0)).ranking

    assert ranking is not None
    assert (ranking.auc, ranking.bounds, ranking.interval) == (0.5, (0, 1), (0, 1))


def test_a_click_whose_prediction_was_counted_a_moment_later_breaks_nothing() -> None:
    cohort = cohort_of(*simulated(2_000, seed=1))
    stray = cohort.clicks.by_bucket.copy()
    stray[-2] += 1  # In a bucket without a prediction.

    found = Quality.of(
        replace(cohort, clicks=replace(cohort.clicks, by_bucket=stray)), min_predictions=100
    )

    assert found.reliability[-1].ctr == 1
    assert found.ranking is not None
    assert 0.5 < found.ranking.auc < 1
