"""What a window is in numbers, computed by hand."""

import math

import numpy as np
import pytest

from bridge.points import (
    common_numbers,
    common_points_of,
    day_numbers,
    metric_prefix,
    points_of,
    window_numbers,
)
from bridge.windows import Slot
from service.monitoring.counts import ModelCounts
from service.monitoring.drift.budget import LOG_THRESHOLD
from service.monitoring.drift.kind import DriftKind
from service.monitoring.drift.report import Effects
from service.monitoring.drift.sample import DriftSample
from service.monitoring.health import HealthStatus
from service.monitoring.histogram import HistogramCounts
from service.monitoring.tracking import Point
from service.monitoring.window import Window

SLOT = Slot(number=6_000_000, seconds=300)
WINDOW = Window(start=1_800_000_000.5, end=1_800_000_300.5, increases={})


def histogram(
    bounds: list[float], cumulative: list[float], total: float, squares: float
) -> HistogramCounts:
    return HistogramCounts(
        bounds=np.array(bounds),
        cumulative=np.array(cumulative),
        total=total,
        total_of_squares=squares,
    )


# Four requests: 0.02 s, 0.04 s, 0.06 s, 0.08 s; ten predictions of 0.1.
COUNTS = ModelCounts(
    successes=3,
    errors=1,
    durations=histogram([0.01, 0.05, 0.1, math.inf], [0, 2, 4, 4], 0.2, 0.012),
    predictions=histogram([0.5, math.inf], [10, 10], 1.0, 0.1),
    negative_log_complement=-10 * math.log(0.9),
)
NOTHING = ModelCounts(
    successes=0,
    errors=0,
    durations=histogram([0.01, math.inf], [0, 0], 0, 0),
    predictions=histogram([0.5, math.inf], [0, 0], 0, 0),
    negative_log_complement=0.0,
)


def numbers(
    counts: ModelCounts = COUNTS, *, window: Window = WINDOW, drift: DriftSample | None = None
) -> dict[str, float]:
    return dict(
        window_numbers(
            counts,
            window=window,
            requests_today=17,
            health=HealthStatus.WARNING,
            drift=drift,
            sampled=None,
            quality=None,
        )
    )


def test_a_window_is_told_in_milliseconds_and_percent() -> None:
    assert numbers() == {
        "total_requests": 17,
        "requests_in_window": 4,
        "errors_in_window": 1,
        "predictions_in_window": 10,
        "requests_per_minute": pytest.approx(0.8),
        "error_rate": 25,
        "avg_latency_ms": pytest.approx(50),
        # The variance of 20, 40, 60 and 80 ms is 500 ms^2.
        "std_latency_ms": pytest.approx(math.sqrt(500)),
        "p50_latency_ms": pytest.approx(50),
        # Of the two between 50 and 100 ms: 1.8 of 2, and 1.96 of 2.
        "p95_latency_ms": pytest.approx(95),
        "p99_latency_ms": pytest.approx(99),
        "min_latency_ms_at_least": pytest.approx(10),
        "max_latency_ms_at_most": pytest.approx(100),
        "mean_prediction": pytest.approx(0.1),
        "std_prediction": pytest.approx(0, abs=1e-8),
        "health_status": 1,
        "window_seconds": 300,
    }


def test_of_a_window_without_requests_only_what_exists_is_told() -> None:
    assert numbers(NOTHING) == {
        "total_requests": 17,
        "requests_in_window": 0,
        "errors_in_window": 0,
        "predictions_in_window": 0,
        "requests_per_minute": 0,
        "health_status": 1,
        "window_seconds": 300,
    }


def test_a_window_of_no_length_has_no_rate() -> None:
    instant = Window(start=5.0, end=5.0, increases={})

    assert "requests_per_minute" not in numbers(window=instant)


def test_what_is_not_finite_is_left_out() -> None:
    slow = ModelCounts(
        successes=1,
        errors=0,
        durations=histogram([0.01, math.inf], [0, 1], math.inf, math.inf),
        predictions=COUNTS.predictions,
        negative_log_complement=COUNTS.negative_log_complement,
    )

    found = numbers(slow)

    assert all(math.isfinite(value) for value in found.values())
    assert not {"avg_latency_ms", "std_latency_ms", "max_latency_ms_at_most"} & found.keys()
    assert found["min_latency_ms_at_least"] == 10
    assert found["p95_latency_ms"] == 10  # The last finite bound, as in PromQL.


def test_drift_is_told_as_far_as_it_was_measured() -> None:
    drift = DriftSample(
        at=1.0,
        model_version="1",
        log_evidence=18.5,
        effects=Effects(mean_shift=0.25, variance_ratio=None),
        standing=(DriftKind.MEAN_SHIFT,),
    )

    found = {name: value for name, value in numbers(drift=drift).items() if "drift" in name}

    assert found == {
        "drift_detected": 1,
        "drift_log_evidence": 18.5,
        "drift_log_evidence_threshold": LOG_THRESHOLD,
        "drift_mean_shift": 0.25,
    }


def test_every_number_has_two_names_at_the_windows_end() -> None:
    assert points_of({"error_rate": 2.5}, model_name="xgboost", slot=SLOT) == [
        Point("xgboost_error_rate", 2.5, 1_800_000_300_000, 6_000_000),
        Point("error_rate", 2.5, 1_800_000_300_000, 6_000_000),
    ]


def test_numbers_are_read_back_from_points_even_of_a_strangely_named_model() -> None:
    found = numbers()

    for model in ("xgboost", "total", "error_rate", "a%b/c"):
        assert common_numbers(points_of(found, model_name=model, slot=SLOT)) == found


def test_characters_that_mlflow_refuses_are_replaced() -> None:
    assert metric_prefix("xgboost.v-1 b") == "xgboost.v-1 b_"
    assert metric_prefix("100%/{ü},../") == "100____ _..__".replace(" ", "_")


def test_a_day_is_added_up_and_its_worst_windows_are_named() -> None:
    windows = [
        {"requests_in_window": 4.0, "errors_in_window": 1.0, "error_rate": 25.0},
        {"requests_in_window": 6.0, "errors_in_window": 0.0, "error_rate": 0.0}
        | {"p95_latency_ms": 95.0, "health_status": 2.0, "drift_log_evidence": -1.0},
        {"requests_in_window": 0.0, "errors_in_window": 0.0, "health_status": 1.0},
    ]

    assert day_numbers(windows) == {
        "day/requests": 10,
        "day/errors": 1,
        "day/windows_present": 3,
        "day/max_error_rate": 25,
        "day/max_p95_latency_ms": 95,
        "day/max_drift_log_evidence": -1,
        "day/degraded_windows": 1,
    }


def test_a_days_numbers_have_one_name() -> None:
    assert common_points_of({"day/requests": 10}, SLOT) == [
        Point("day/requests", 10, 1_800_000_300_000, 6_000_000)
    ]
