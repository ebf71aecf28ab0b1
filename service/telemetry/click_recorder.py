"""What came of predictions: the clicks of one model version."""

from collections.abc import Mapping

from service.monitoring import catalogue
from service.monitoring.clicks import negative_log, negative_log_complement
from service.telemetry.histogram_series import HistogramSeries
from service.telemetry.series import WorkerFiles


class ClickRecorder:
    """The series of the clicks on one model version."""

    def __init__(self, files: WorkerFiles, labels: Mapping[str, str]) -> None:
        self._clicks = files.series(catalogue.CLICKS, labels)
        self._predictions = HistogramSeries(files, catalogue.CLICKED_PREDICTION, labels)
        self._negative_logs = files.series(catalogue.CLICKED_NEGATIVE_LOG, labels)
        self._complements = files.series(catalogue.CLICKED_NEGATIVE_LOG_COMPLEMENT, labels)

    def clicked(self, prediction: float) -> None:
        """Count one click on a prediction of ``prediction``."""
        self._clicks.increase()
        self._predictions.observe(prediction)
        self._negative_logs.increase(negative_log(prediction))
        self._complements.increase(negative_log_complement(prediction))
