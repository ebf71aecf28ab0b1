"""The checks of health: what raises, what clears, what decides nothing."""

import numpy as np
import pytest

from service.monitoring.counts import ModelCounts
from service.monitoring.health import (
    CheckStatus,
    HealthPolicy,
    HealthStatus,
    judge,
    overall,
)
from service.monitoring.histogram import HistogramCounts

POLICY = HealthPolicy(error_rate_percent=5.0, latency_ms=1000.0, min_requests=20)


def counts(successes: int, errors: int, seconds: float) -> ModelCounts:
    requests = successes + errors
    durations = HistogramCounts(
        bounds=np.array([100.0, np.inf]),
        cumulative=np.array([requests, requests], dtype=np.float64),
        total=requests * seconds,
        total_of_squares=requests * seconds**2,
    )
    return ModelCounts(
        successes=successes,
        errors=errors,
        durations=durations,
        predictions=durations,
        negative_log_complement=0.0,
    )


def status(successes: int, errors: int, seconds: float = 0.01) -> HealthStatus:
    return judge("m", counts(successes, errors, seconds), policy=POLICY, decided={}).status


@pytest.mark.parametrize(
    ("successes", "errors", "seconds", "expected"),
    [
        (100, 0, 0.01, HealthStatus.HEALTHY),
        (95, 5, 0.01, HealthStatus.HEALTHY),  # exactly 5 % is not above 5 %
        (94, 6, 0.01, HealthStatus.DEGRADED),
        (100, 0, 1.0, HealthStatus.HEALTHY),  # exactly 1000 ms
        (100, 0, 1.001, HealthStatus.DEGRADED),
    ],
)
def test_a_value_above_its_threshold_degrades(
    successes: int, errors: int, seconds: float, expected: HealthStatus
) -> None:
    assert status(successes, errors, seconds) is expected


def test_too_few_requests_decide_nothing_and_say_so() -> None:
    health = judge("m", counts(0, 19, 5.0), policy=POLICY, decided={})

    assert health.status is HealthStatus.HEALTHY
    assert {check.status for check in health.checks} == {CheckStatus.INSUFFICIENT_DATA}
    assert [check.observations for check in health.checks] == [19, 19]
    assert health.alerts == []


def test_an_alarm_stands_until_there_is_enough_data_to_clear_it() -> None:
    decided = {"error_rate": CheckStatus.DEGRADED}

    silent = judge("m", counts(0, 0, 0), policy=POLICY, decided=decided)
    well_again = judge("m", counts(20, 0, 0.01), policy=POLICY, decided=decided)

    assert silent.status is HealthStatus.DEGRADED
    assert "when last decided" in silent.alerts[0]
    assert well_again.status is HealthStatus.HEALTHY


def test_an_alert_names_the_model_the_value_and_the_threshold() -> None:
    (alert,) = judge("m", counts(80, 20, 0.01), policy=POLICY, decided={}).alerts

    assert alert == "m: error rate 20 percent is above 5 percent"


def test_one_sick_model_makes_the_service_sick() -> None:
    well = judge("a", counts(100, 0, 0.01), policy=POLICY, decided={})
    sick = judge("b", counts(50, 50, 0.01), policy=POLICY, decided={})

    assert overall([well]) is HealthStatus.HEALTHY
    assert overall([well, sick]) is HealthStatus.DEGRADED
    assert overall([]) is HealthStatus.HEALTHY
