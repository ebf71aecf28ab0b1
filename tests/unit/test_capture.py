"""A captured baseline: the traffic of one version, hour by hour."""

from datetime import UTC, datetime

import pytest

from service.monitoring.baseline import Baseline
from service.monitoring.capture import UnusableTrafficError, capture
from service.monitoring.snapshot import Series
from service.monitoring.window import Window

HOUR = 3600.0
NOW = datetime(2026, 11, 23, tzinfo=UTC)


def series(name: str, version: str = "1", **more: str) -> Series:
    return Series(name, tuple(sorted({"model": "m", "version": version, **more}.items())))


def hour(number: int, low: int, high: int, *, mobile: int, version: str = "1") -> Window:
    """``low`` predictions of 0.01 and ``high`` of 0.03, each a request of 2 ms."""
    count = low + high

    def of(name: str, **more: str) -> Series:
        return series(name, version, **more)

    return Window(
        start=number * HOUR,
        end=(number + 1) * HOUR,
        increases={
            of("ctr_requests_total", outcome="success"): count,
            of("ctr_prediction_ratio_bucket", le="0.02"): low,
            of("ctr_prediction_ratio_bucket", le="0.05"): count,
            of("ctr_prediction_ratio_bucket", le="+Inf"): count,
            of("ctr_prediction_ratio_sum"): 0.01 * low + 0.03 * high,
            of("ctr_prediction_ratio_squared_total"): 0.0001 * low + 0.0009 * high,
            of("ctr_request_duration_seconds_bucket", le="0.01"): count,
            of("ctr_request_duration_seconds_bucket", le="+Inf"): count,
            of("ctr_request_duration_seconds_sum"): 0.002 * count,
            of("ctr_request_duration_seconds_squared_total"): 0.000004 * count,
            of("ctr_feature_values_total", feature="device", value="mobile"): mobile,
            of("ctr_feature_values_total", feature="device", value="(unseen)"): count - mobile,
        },
    )


def captured(*windows: Window, min_predictions: int = 1) -> Baseline:
    return capture(
        "m",
        "1",
        windows,
        min_predictions=min_predictions,
        created_at=NOW,
        created_by="test",
        note="",
    )


def test_moments_and_profile_are_those_of_the_hours() -> None:
    # 1970-01-01 13:00 to 15:00, and 13:00 of the next day.
    baseline = captured(
        hour(13, 30, 10, mobile=40), hour(14, 0, 20, mobile=5), hour(37, 10, 30, mobile=0)
    )

    assert baseline.observations == 100
    assert baseline.mean_prediction == pytest.approx((40 * 0.01 + 60 * 0.03) / 100)
    # A share of 0.6 at 0.02 above: the standard deviation is 0.02 sqrt(0.6 * 0.4).
    assert baseline.std_prediction == pytest.approx(0.02 * (0.24**0.5))
    assert baseline.mean_latency_seconds == pytest.approx(0.002)
    assert baseline.predictions is not None
    assert baseline.predictions.bounds.tolist() == [0.02, 0.05]
    assert baseline.predictions.counts[13].tolist() == [40, 40, 0]
    assert baseline.predictions.counts[14].tolist() == [0, 20, 0]
    assert baseline.predictions.counts.sum() == 100
    device = baseline.features["device"]
    mobile = device.values.index("mobile")
    assert device.counts[13, mobile] == 40
    assert device.counts[14, mobile] == 5
    assert device.counts.sum() == 100
    assert (baseline.window_start, baseline.window_end) == (13 * HOUR, 38 * HOUR)


def test_another_version_s_traffic_does_not_count() -> None:
    baseline = captured(hour(1, 5, 5, mobile=0), hour(2, 0, 500, mobile=0, version="2"))

    assert baseline.observations == 10
    assert baseline.mean_prediction == pytest.approx(0.02)


def test_too_little_traffic_is_refused_with_the_numbers() -> None:
    with pytest.raises(UnusableTrafficError, match=r"40 predictions.*needs 100"):
        captured(hour(1, 30, 10, mobile=0), min_predictions=100)


def test_traffic_of_equal_predictions_is_no_reference() -> None:
    with pytest.raises(UnusableTrafficError, match="equal"):
        captured(hour(1, 500, 0, mobile=0), hour(2, 700, 0, mobile=0))


def test_no_traffic_at_all_is_refused_too() -> None:
    with pytest.raises(UnusableTrafficError, match="0 predictions"):
        captured(Window(start=0, end=HOUR, increases={}), min_predictions=1)


def test_a_baseline_survives_json_bit_by_bit() -> None:
    baseline = captured(hour(13, 30, 11, mobile=40))

    text = baseline.to_json()

    assert Baseline.from_json(text).to_json() == text


@pytest.mark.parametrize(
    ("text", "said"),
    [("{}", "lacks the field 'format'"), ('{"format": 99}', "format 99 is not 1")],
)
def test_what_is_no_baseline_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Baseline.from_json(text)
