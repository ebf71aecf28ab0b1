"""The daily course: what the mean is at every time of day, of hours that were seen."""

import math

import numpy as np
import pytest
from drift_traffic import MEAN, MIDNIGHT, Traffic, captured, joined, traffic

from service.monitoring.drift.profile import fit
from service.monitoring.drift.reference import Reference

HOURS = np.arange(24) + 0.5


def test_a_course_of_noise_is_a_flat_line() -> None:
    values = 5 + 0.1 * np.random.default_rng(1).standard_normal(24)

    profile = fit(values, np.full(24, 0.1))

    assert profile.flat
    assert profile.at(np.array([MIDNIGHT]))[0] == pytest.approx(values.mean())


def test_a_sine_is_fitted_between_the_hours_as_well_as_at_them() -> None:
    # The mean over an hour of a sine is the sine at its middle, damped by sin(x)/x.
    damped = np.sin(math.pi / 24) / (math.pi / 24)
    values = 1 + 0.15 * damped * np.sin(2 * math.pi * HOURS / 24)

    profile = fit(values, np.full(24, 1e-3))

    time = np.asarray(MIDNIGHT + np.linspace(0, 86_400, 1000), dtype=np.float64)
    truth = 1 + 0.15 * np.sin(2 * math.pi * (time % 86_400) / 86_400)
    assert profile.parameters == 3
    assert np.abs(profile.at(time) - truth).max() < 1e-4


def test_steps_that_no_few_harmonics_follow_become_straight_lines() -> None:
    values = np.where(HOURS < 12, 1.0, 2.0)

    profile = fit(values, np.full(24, 1e-3))

    assert profile.parameters == 24
    middles = np.asarray(MIDNIGHT + HOURS * 3600, dtype=np.float64)
    assert profile.at(middles) == pytest.approx(values, abs=1e-9)


def test_hours_without_traffic_are_filled_from_the_others() -> None:
    values = np.full(24, 3.0)
    values[5:9] = np.nan

    assert fit(values, np.full(24, 0.1)).at(np.array([MIDNIGHT + 7 * 3600])) == pytest.approx(3.0)


def test_a_daily_course_of_little_traffic_is_a_reference_without_a_ripple() -> None:
    means = MEAN * (1 + 0.3 * np.sin(2 * math.pi * HOURS / 24))
    day = joined(
        *(traffic(240, Traffic(mean=m, per_tick=10), seed=h) for h, m in enumerate(means.tolist()))
    )

    reference = Reference.of(captured(day), materiality=0.01)

    assert not reference.predictions.course.means[0].flat
    assert reference.predictions.ripple is None
