"""A Prometheus histogram in a worker's files."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from prometheus_client.utils import floatToGoString

from service.monitoring import catalogue
from service.monitoring.buckets import bucket_counts, bucket_of
from service.telemetry.series import WorkerFiles


class HistogramSeries:
    """A Prometheus histogram that takes one observation or thousands in one call."""

    def __init__(
        self, files: WorkerFiles, metric: catalogue.Metric, labels: Mapping[str, str]
    ) -> None:
        self._bounds = metric.bounds
        self._edges = np.array(metric.bounds)
        self._buckets = [
            files.series(metric, {**labels, "le": floatToGoString(bound)}, f"{metric.name}_bucket")
            for bound in (*metric.bounds, float("inf"))
        ]
        self._sum = files.series(metric, labels, f"{metric.name}_sum")

    def observe(self, value: float) -> None:
        """Record one value."""
        self._buckets[bucket_of(value, self._bounds)].increase()
        self._sum.increase(value)

    def observe_all(self, values: NDArray[np.float64]) -> None:
        """Record values, shape ``(n,)``."""
        for bucket, count in zip(self._buckets, bucket_counts(values, self._edges), strict=True):
            if count:
                bucket.increase(float(count))
        self._sum.increase(float(values.sum()))
