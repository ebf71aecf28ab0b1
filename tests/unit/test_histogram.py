"""Quantiles as PromQL computes them, moments as numpy does."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from service.monitoring.histogram import HistogramCounts


def histogram(*cumulative: float, bounds: tuple[float, ...]) -> HistogramCounts:
    return HistogramCounts(
        bounds=np.array([*bounds, math.inf]),
        cumulative=np.array(cumulative, dtype=np.float64),
        total=0.0,
        total_of_squares=0.0,
    )


def observed(values: list[float], bounds: tuple[float, ...]) -> HistogramCounts:
    data = np.array(values)
    return HistogramCounts(
        bounds=np.array([*bounds, math.inf]),
        cumulative=np.array([*((data <= b).sum() for b in bounds), len(data)], dtype=np.float64),
        total=math.fsum(values),
        total_of_squares=math.fsum(v * v for v in values),
    )


@pytest.mark.parametrize(
    ("q", "expected"),
    [
        # 10 up to 0.1, 30 up to 0.2, 40 up to 0.4, none above; rank = 40 q.
        (0.125, 0.05),  # rank 5 of 10 in the first bucket, from 0
        (0.25, 0.1),  # rank 10 ends the first bucket
        (0.5, 0.15),  # rank 20: half of the 20 in (0.1, 0.2]
        (0.75, 0.2),
        (0.875, 0.3),  # rank 35: half of the 10 in (0.2, 0.4]
        (1.0, 0.4),
    ],
)
def test_a_quantile_is_linear_within_its_bucket(q: float, expected: float) -> None:
    found = histogram(10, 30, 40, 40, bounds=(0.1, 0.2, 0.4)).quantile(q)

    assert found == pytest.approx(expected, rel=1e-15)


def test_above_the_last_finite_bound_the_answer_is_that_bound() -> None:
    assert histogram(0, 0, 7, bounds=(0.1, 0.2)).quantile(0.5) == 0.2


def test_without_observations_there_is_no_number() -> None:
    empty = histogram(0, 0, 0, bounds=(0.1, 0.2))

    assert (empty.quantile(0.5), empty.mean, empty.std) == (None, None, None)


@pytest.mark.parametrize("q", [0.0, -0.1, 1.1, math.nan])
def test_no_such_quantile(q: float) -> None:
    with pytest.raises(ValueError, match="quantile"):
        histogram(1, 1, bounds=(0.1,)).quantile(q)


BOUNDS = (0.001, 0.01, 0.1, 0.5, 1.0)
VALUES = st.lists(st.floats(1e-6, 0.999), min_size=1, max_size=200)


@given(VALUES, st.floats(0.01, 1))
def test_a_quantile_lies_in_the_bucket_of_the_value_of_that_rank(
    values: list[float], q: float
) -> None:
    rank = max(math.ceil(q * len(values)), 1)
    assume(abs(q * len(values) - round(q * len(values))) > 1e-9)  # no tie between two buckets
    value = sorted(values)[rank - 1]
    upper = min(b for b in BOUNDS if value <= b)
    lower = max((b for b in BOUNDS if b < upper), default=0.0)

    found = observed(values, BOUNDS).quantile(q)

    assert found is not None
    assert lower <= found <= upper * (1 + 1e-12)


@given(VALUES, st.floats(0.01, 1), st.floats(0.01, 1))
def test_quantiles_do_not_cross(values: list[float], a: float, b: float) -> None:
    counts = observed(values, BOUNDS)
    low, high = counts.quantile(min(a, b)), counts.quantile(max(a, b))

    assert low is not None
    assert high is not None
    assert low <= high * (1 + 1e-12)


@given(VALUES)
def test_mean_and_standard_deviation_are_those_of_the_values(values: list[float]) -> None:
    counts = observed(values, BOUNDS)

    assert counts.mean == pytest.approx(np.mean(values), rel=1e-12)
    assert counts.std == pytest.approx(np.std(values), rel=1e-6, abs=1e-7)
