"""What a window and the clicks on its predictions bring to an arm."""

from collections.abc import Mapping

import numpy as np

from service.monitoring import catalogue
from service.monitoring.cells import CELLS
from service.monitoring.counts import ModelVersion, counts_of_version, of_version
from service.monitoring.experiment.arms import Floats, Served
from service.monitoring.snapshot import Series


def impressions_by_cell(
    increases: Mapping[Series, float], model: ModelVersion, experiment: str
) -> Floats:
    """Pick the predictions for users whom the experiment gave a model, shape ``(CELLS,)``."""
    found = np.zeros(CELLS)
    for (name, labels), value in of_version(increases, model.model, model.version).items():
        if name == catalogue.ASSIGNED_PREDICTIONS.name:
            of = dict(labels)
            if of["experiment"] == experiment:
                found[int(of["cell"])] += value
    return found


def served(increases: Mapping[Series, float], model: ModelVersion, clicks: float) -> Served:
    """Pick how a model served.

    Args:
        increases: Growth of all counters.
        model: Which.
        clicks: On the predictions of the same span.
    """
    counts = counts_of_version(increases, model.model, model.version)
    if counts is None:
        return Served(clicks=clicks)
    return Served(
        requests=counts.requests,
        errors=counts.errors,
        duration_seconds=counts.durations.total,
        durations=counts.durations.count,
        predictions=counts.predictions.count,
        predicted_clicks=counts.predictions.total,
        clicks=clicks,
    )
