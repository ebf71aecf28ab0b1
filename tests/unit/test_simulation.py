import numpy as np
import pytest

from service.training.simulation import DAYS, simulate


def test_equal_seeds_give_equal_logs_and_other_seeds_others() -> None:
    first, again, other = (simulate(500, seed=seed).log for seed in (1, 1, 2))

    assert first.requests() == again.requests()
    assert first.click.tolist() == again.click.tolist()
    assert first.requests() != other.requests()


def test_the_base_rate_is_the_documented_2_3_percent() -> None:
    simulation = simulate(100_000, seed=3)

    assert simulation.probabilities.mean() == pytest.approx(0.023, rel=1e-6)
    # a binomial share over 100,000 rows: four standard errors
    assert simulation.log.ctr == pytest.approx(0.023, abs=4 * (0.023 / 100_000) ** 0.5)


def test_clicks_follow_the_stated_probabilities() -> None:
    simulation = simulate(200_000, seed=4)
    order = np.argsort(simulation.probabilities)

    for part in np.array_split(order, 10):
        expected = simulation.probabilities[part].sum()
        assert simulation.log.click[part].sum() == pytest.approx(expected, abs=4 * expected**0.5)


def test_users_and_ads_follow_a_power_law() -> None:
    log = simulate(200_000, seed=5).log

    ads = np.sort(np.bincount(log.ad_id.codes))[::-1]
    slope = np.polyfit(np.log(np.arange(1, 101)), np.log(ads[:100]), 1)[0]

    assert slope == pytest.approx(-0.9, abs=0.03)
    assert np.bincount(log.user_id.codes).max() > 100 * len(log) / len(log.user_id.values)


def test_time_hour_and_weekday_agree_and_ascend() -> None:
    log = simulate(20_000, seed=6).log
    assert log.timestamp is not None

    days = log.timestamp.astype("datetime64[D]").astype(int)

    assert (np.diff(log.timestamp.astype(int)) >= 0).all()
    assert (log.utc_hour == log.hour).all()
    assert (log.day_of_week == (days + 3) % 7).all()  # 1970-01-01 was a Thursday
    assert days.max() - days.min() == DAYS - 1


def test_evening_and_top_slots_are_clicked_more() -> None:
    simulation = simulate(200_000, seed=7)
    log, probabilities = simulation.log, simulation.probabilities
    slots = np.array([value.partition(":")[2] for value in log.placement.values])
    slot = slots[log.placement.codes]

    def mean(rows: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> float:
        return float(probabilities[rows].mean())

    assert mean(log.hour == 20) / mean(log.hour == 8) == pytest.approx(np.exp(0.6), rel=0.1)
    assert mean(slot == "top") / mean(slot == "bottom") == pytest.approx(np.exp(1.0), rel=0.1)
