"""A Prometheus histogram in a worker's files."""

from bisect import bisect_left
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from prometheus_client.utils import floatToGoString

from service.monitoring import catalogue
from service.monitoring.buckets import buckets_of
from service.telemetry.series import WorkerFiles


class HistogramSeries:
    """A Prometheus histogram that takes one observation or thousands in one call."""

    def __init__(
        self, files: WorkerFiles, metric: catalogue.Metric, labels: Mapping[str, str]
    ) -> None:
        self._bounds = metric.bounds
        self._edges = np.array(metric.bounds)
        self._buckets = files.block(
            metric,
            ({**labels, "le": floatToGoString(bound)} for bound in (*metric.bounds, float("inf"))),
            f"{metric.name}_bucket",
        )
        self._sum = files.series(metric, labels, f"{metric.name}_sum")

    def observe(self, *values: float) -> None:
        """Record a few values."""
        bounds = self._bounds
        self._buckets.count_few([bisect_left(bounds, value) for value in values])
        self._sum.increase(sum(values))

    def observe_all(self, values: NDArray[np.float64]) -> None:
        """Record many values, shape ``(n,)``."""
        self._buckets.count(buckets_of(values, self._edges))
        self._sum.increase(float(values.sum()))
