"""What models scored without answering, in series of its own: it counts for nothing else."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from service.monitoring import catalogue
from service.monitoring.catalogue import Outcome
from service.telemetry.histogram_series import HistogramSeries
from service.telemetry.series import WorkerFiles


class ShadowRecorder:
    """The shadow series of one model version."""

    def __init__(self, files: WorkerFiles, labels: Mapping[str, str]) -> None:
        self._outcomes = {
            outcome: files.series(catalogue.SHADOW_PREDICTIONS, {**labels, "outcome": outcome})
            for outcome in Outcome
        }
        self._scores = HistogramSeries(files, catalogue.SHADOW_PREDICTION, labels)
        self._squares = files.series(catalogue.SHADOW_PREDICTION_SQUARED, labels)
        self._answered = files.series(catalogue.SHADOW_ANSWERED, labels)
        self._differences_squared = files.series(catalogue.SHADOW_DIFFERENCE_SQUARED, labels)

    def predicted(self, scores: NDArray[np.float64], answered: NDArray[np.float64]) -> None:
        """Record scores beside those that were answered for the same requests, shapes ``(n,)``."""
        differences = scores - answered
        self._outcomes[Outcome.SUCCESS].increase(len(scores))
        self._scores.observe_all(scores)
        self._squares.increase(float(scores @ scores))
        self._answered.increase(float(answered.sum()))
        self._differences_squared.increase(float(differences @ differences))

    def failed(self, count: int) -> None:
        """Count ad requests that the model gave no usable score for."""
        self._outcomes[Outcome.ERROR].increase(count)
