"""The peers of the drift benchmark compute what their names promise."""

import math
from dataclasses import replace

import numpy as np
import pytest
from drift_traffic import MIDNIGHT, Traffic, captured, traffic
from numpy.typing import NDArray
from scipy import special, stats

from benchmarks import drift_peers as peers
from service.monitoring.drift.reference import Reference
from service.monitoring.drift.ticks import Floats, Ticks

TOMORROW = MIDNIGHT + 86_400
LIKELY = 0.001


@pytest.fixture(scope="module")
def known() -> peers.Known:
    baseline = captured(traffic(1000, seed=1))
    return peers.Known.of(baseline, Reference.of(baseline, materiality=0.0).predictions.course)


@pytest.fixture(scope="module")
def shifted() -> Ticks:
    return traffic(peers.HOUR_TICKS, Traffic(mean=0.0235), seed=2, start=TOMORROW)


def one_tick(buckets: Floats) -> Ticks:
    tick = traffic(1, seed=3)
    return replace(tick, predictions=replace(tick.predictions, buckets=buckets[None, :]))


def bucket_of_each(counts: Floats) -> NDArray[np.int64]:
    return np.repeat(np.arange(len(counts)), counts.astype(int))


def test_a_window_holds_the_last_ticks_and_at_first_fewer() -> None:
    sums = peers.recent(np.array([1.0, 2.0, 4.0, 8.0]), 2)

    assert sums.tolist() == [1.0, 3.0, 6.0, 12.0]


def test_z_matches_a_hand_computed_case(known: peers.Known) -> None:
    tick = traffic(1, seed=3)
    count = tick.predictions.count
    shift = replace(tick.predictions, total=count * (known.mean + 0.5 * known.std))
    moved = replace(tick, predictions=shift)

    assert peers.z_plain(known, moved) == pytest.approx([0.5])
    assert peers.z_sampling(known, moved) == pytest.approx([0.5 * math.sqrt(300)])


def test_z_on_the_course_is_a_standard_normal_while_nothing_changed() -> None:
    long = captured(traffic(5760, seed=4))
    course = Reference.of(long, materiality=0.0).predictions.course
    usual = peers.Known.of(long, course)

    z = peers.z_on_course(usual, traffic(4000, seed=5, start=TOMORROW))
    apart = z[peers.Z_TICKS - 1 :: peers.Z_TICKS]

    assert stats.kstest(apart, stats.halfnorm.cdf).pvalue > LIKELY


def test_a_doubled_variance_is_the_logarithm_of_two(known: peers.Known) -> None:
    tick = traffic(1, seed=3).predictions
    squares = 300 * (2 * known.std**2 + known.mean**2)
    wide = replace(tick, total=np.array([300 * known.mean]), squares=np.array([squares]))

    found = peers.variance_ratio(known, replace(traffic(1, seed=3), predictions=wide))

    assert found == pytest.approx([math.log(2)])


def test_psi_is_the_divergence_both_ways(known: peers.Known, shifted: Ticks) -> None:
    p = known.buckets + 0.5
    q = shifted.predictions.buckets.sum(axis=0) + 0.5

    # scipy's entropy of two distributions is the Kullback-Leibler divergence.
    both = stats.entropy(p, q) + stats.entropy(q, p)

    assert peers.psi(known, shifted)[-1] == pytest.approx(both)


def test_psi_of_an_unchanged_distribution_is_chi_squared(known: peers.Known) -> None:
    rng = np.random.default_rng(6)
    n, bins = 20_000, 10
    draws = rng.multinomial(n, np.full(bins, 1 / bins), size=400).astype(float)
    even = replace(known, buckets=np.full(bins, 1e9))

    found = [n * peers.psi(even, one_tick(draw))[0] for draw in draws]

    assert stats.kstest(found, stats.chi2(bins - 1).cdf).pvalue > LIKELY


def test_the_kolmogorov_smirnov_distance_is_that_of_scipy(
    known: peers.Known, shifted: Ticks
) -> None:
    seen = shifted.predictions.buckets.sum(axis=0)
    n, m = seen.sum(), known.buckets.sum()

    theirs = stats.ks_2samp(bucket_of_each(seen), bucket_of_each(known.buckets), method="asymp")
    ours = peers.kolmogorov_smirnov(known, shifted)[-1]

    assert ours == pytest.approx(theirs.statistic * math.sqrt(n * m / (n + m)))
    assert special.kolmogorov(ours) == pytest.approx(theirs.pvalue, rel=0.02)


def test_the_kolmogorov_smirnov_threshold_is_five_percent() -> None:
    [ks] = [peer for peer in peers.AS_THEY_COME if peer.statistic is peers.kolmogorov_smirnov]

    assert special.kolmogorov(ks.threshold) == pytest.approx(0.05, abs=1e-5)


def test_an_online_detector_hears_the_standardised_means_of_the_ticks(known: peers.Known) -> None:
    heard: list[float] = []

    class Listener:
        drift_detected = False

        def update(self, x: float) -> None:
            heard.append(x)
            self.drift_detected = len(heard) == 2

    ticks = traffic(500, seed=7, start=TOMORROW)

    assert np.flatnonzero(peers.online(Listener)(known, ticks)).tolist() == [1]
    assert len(heard) == len(ticks)
    assert stats.kstest(heard, stats.norm(np.mean(heard), 1).cdf).pvalue > LIKELY


def test_alarms_within_an_hour_are_one_page() -> None:
    alarm = np.zeros(1000, dtype=bool)
    alarm[[0, 100, 340, 700]] = True

    # 340 is 240 ticks, an hour, after 100.
    assert peers.pages(alarm) == 3


def test_a_baseline_without_a_histogram_is_refused(known: peers.Known) -> None:
    bare = replace(captured(traffic(10, seed=8)), predictions=None)

    with pytest.raises(ValueError, match="histogram"):
        peers.Known.of(bare, known.course)
