"""Cohorts built from single predictions, as the counters of a service would have them."""

import math

import numpy as np
from numpy.typing import NDArray

from service.monitoring.buckets import PREDICTION_BOUNDS
from service.monitoring.clicks import ClickSums, Cohort
from service.monitoring.histogram import HistogramCounts


def cohort_of(
    predictions: NDArray[np.float64],
    clicked: NDArray[np.bool_],
    *,
    start: float = 0.0,
    end: float = 3600.0,
) -> Cohort:
    """Add up predictions and outcomes, both of shape ``(n,)``."""
    its_clicks = predictions[clicked]
    cumulative = [*((predictions <= b).sum() for b in PREDICTION_BOUNDS), len(predictions)]
    clicks_up_to = [0, *((its_clicks <= b).sum() for b in PREDICTION_BOUNDS), len(its_clicks)]
    return Cohort(
        start=start,
        end=end,
        predictions=HistogramCounts(
            bounds=np.array([*PREDICTION_BOUNDS, math.inf]),
            cumulative=np.array(cumulative, dtype=np.float64),
            total=math.fsum(predictions),
            total_of_squares=math.fsum(predictions**2),
        ),
        negative_log_complement=math.fsum(-np.log1p(-predictions)),
        clicks=ClickSums(
            prediction=math.fsum(its_clicks),
            negative_log=math.fsum(-np.log(its_clicks)),
            negative_log_complement=math.fsum(-np.log1p(-its_clicks)),
            by_bucket=np.diff(clicks_up_to).astype(np.float64),
        ),
    )
