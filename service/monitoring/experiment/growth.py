"""What a window and the clicks on its predictions bring to an arm."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from service.monitoring import catalogue
from service.monitoring.cells import CELLS
from service.monitoring.counters import Counters, Places, added_up
from service.monitoring.counts import ModelVersion, counts_of_version, of_version
from service.monitoring.experiment.arms import Floats, Served
from service.monitoring.snapshot import Series


def impressions_by_cell(
    increases: Mapping[Series, float], model: ModelVersion, experiment: str
) -> Floats:
    """Pick the predictions for users whom the experiment gave a model, shape ``(CELLS,)``."""
    own = Counters.of(of_version(increases, model.model, model.version))
    found = own.layout.once(_cells_by_experiment).get(experiment)
    if found is None:
        return np.zeros(CELLS)
    places, cells = found
    return added_up(own.array[places], cells, CELLS)


def _cells_by_experiment(series: Sequence[Series]) -> Mapping[str, tuple[Places, Places]]:
    """Find the series of each experiment, and which cell each is of."""
    found: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for place, (name, labels) in enumerate(series):
        if name == catalogue.ASSIGNED_PREDICTIONS.name:
            of = dict(labels)
            found[of["experiment"]].append((place, int(of["cell"])))
    return {
        experiment: (pairs[:, 0], pairs[:, 1])
        for experiment, pairs in ((key, np.array(its, dtype=np.intp)) for key, its in found.items())
    }


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
