"""The population stability index: how far one mix of values is from another."""

import numpy as np

from service.monitoring.feature_drift.dispersion import Floats

_HALF_A_ROW = 0.5


def population_stability_index(expected: Floats, counts: Floats) -> float:
    """Symmetric divergence of two mixes.

    Args:
        expected: Shares of the values, adding up to 1, shape ``(v,)``.
        counts: Rows by value, shape ``(v,)``, at least one.

    Returns:
        PSI in nats, >= 0. Half a row added on both sides (Jeffreys) keeps empty values finite.

    Source: Siddiqi, *Credit Risk Scorecards* (2006).
    """
    rows = float(counts.sum())
    total = rows + _HALF_A_ROW * len(counts)
    before = (expected * rows + _HALF_A_ROW) / total
    now = (counts + _HALF_A_ROW) / total
    return float(np.sum((now - before) * np.log(now / before)))
