"""Recording: what happened to each request, added up until the flush at the end of the turn."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from prometheus_client.utils import floatToGoString

from service.monitoring import catalogue
from service.monitoring.buckets import bucket_counts, bucket_of
from service.monitoring.catalogue import ErrorType, FeedbackResult, Outcome, Rejection
from service.monitoring.cells import CELLS
from service.monitoring.clicks import (
    Click,
    negative_log,
    negative_log_complement,
    sum_of_negative_log_complements,
)
from service.monitoring.counts import ModelVersion
from service.telemetry.series import Series, WorkerFiles


class Recorder:
    """Every series of this worker that does not belong to one model."""

    def __init__(self, files: WorkerFiles) -> None:
        self._files = files
        self._rejected = {
            reason: files.series(catalogue.REJECTED_REQUESTS, {"reason": reason})
            for reason in Rejection
        }
        self._feedback = {
            result: files.series(catalogue.FEEDBACK_EVENTS, {"result": result})
            for result in FeedbackResult
        }
        self._clicks: dict[ModelVersion, _ClickRecorder] = {}
        files.flush()

    def model(
        self,
        name: str,
        *,
        version: str,
        kind: str,
        vocabularies: Mapping[str, Sequence[str]],
        experiment: str | None = None,
    ) -> "ModelRecorder":
        """Create every series of a model version, at zero.

        Args:
            name: Name of the model.
            version: Its version.
            kind: What kind of model it is.
            vocabularies: The values of each bounded feature, in the order in which
                :meth:`ModelRecorder.predicted` receives their indices.
            experiment: The experiment that gives it users; None where none does.
        """
        recorder = ModelRecorder(
            self._files, {"model": name, "version": version}, kind, vocabularies, experiment
        )
        self._clicks_of(ModelVersion(name, version))
        self._files.flush()
        return recorder

    def feedback(self, results: Mapping[FeedbackResult, int], clicks: Iterable[Click]) -> None:
        """Count the events of a feedback batch, and those clicks of it that are new."""
        for result, count in results.items():
            self._feedback[result].increase(float(count))
        for click in clicks:
            self._clicks_of(ModelVersion(click.model, click.version)).clicked(click.prediction)
        self._files.flush()

    def rejected(self, reason: Rejection) -> None:
        """Count a request that was refused before it reached a model."""
        self._rejected[reason].increase()
        self._files.flush()

    def _clicks_of(self, model: ModelVersion) -> "_ClickRecorder":
        """Find the series of a version; clicks come in for versions served no more, too."""
        if model not in self._clicks:
            labels = {"model": model.model, "version": model.version}
            self._clicks[model] = _ClickRecorder(self._files, labels)
        return self._clicks[model]

    def flush(self) -> None:
        """Write what was recorded since the last flush; answers leave only after this."""
        self._files.flush()


class ModelRecorder:
    """The series of one model version."""

    def __init__(
        self,
        files: WorkerFiles,
        labels: Mapping[str, str],
        kind: str,
        vocabularies: Mapping[str, Sequence[str]],
        experiment: str | None,
    ) -> None:
        self._files = files
        self._labels = labels
        self._outcomes = {
            outcome: files.series(catalogue.REQUESTS, {**labels, "outcome": outcome})
            for outcome in Outcome
        }
        self._errors = {
            error: files.series(catalogue.REQUEST_ERRORS, {**labels, "error_type": error})
            for error in ErrorType
        }
        self._in_progress = files.series(catalogue.REQUESTS_IN_PROGRESS, labels)
        self._durations = _Histogram(files, catalogue.REQUEST_DURATION, labels)
        self._durations_squared = files.series(catalogue.REQUEST_DURATION_SQUARED, labels)
        self._predictions = _Histogram(files, catalogue.PREDICTION, labels)
        self._predictions_squared = files.series(catalogue.PREDICTION_SQUARED, labels)
        self._features = [
            [
                files.series(
                    catalogue.FEATURE_VALUES, {**labels, "feature": feature, "value": value}
                )
                for value in values
            ]
            for feature, values in vocabularies.items()
        ]
        self._negative_log_complements = files.series(
            catalogue.PREDICTION_NEGATIVE_LOG_COMPLEMENT, labels
        )
        self._cells = [
            files.series(
                catalogue.ASSIGNED_PREDICTIONS,
                {**labels, "experiment": experiment, "cell": str(cell)},
            )
            for cell in range(CELLS)
            if experiment is not None
        ]
        # These three exist only once there is a value to show.
        self._shortest: Series | None = None
        self._longest: Series | None = None
        self._last: Series | None = None
        files.series(catalogue.MODEL_INFO, {**labels, "model_kind": kind}).set(1.0)

    def started(self) -> None:
        """Count a request that is being answered from now on."""
        self._in_progress.increase()

    def succeeded(self, seconds: float) -> None:
        """Record one request that the model answered, ``seconds`` after its body arrived."""
        self._outcomes[Outcome.SUCCESS].increase()
        self._finished(seconds)

    def failed(self, seconds: float, error: ErrorType) -> None:
        """Record one request that the model failed."""
        self._outcomes[Outcome.ERROR].increase()
        self._errors[error].increase()
        self._finished(seconds)

    def predicted(
        self,
        scores: NDArray[np.float64],
        value_indices: NDArray[np.int64],
    ) -> None:
        """Record predictions in bulk.

        Args:
            scores: Predicted CTR, shape ``(n,)``, ``n >= 1``.
            value_indices: For each prediction the index of its value in each vocabulary,
                shape ``(n, features)``.
        """
        if len(scores) == 1:
            score = float(scores[0])
            self._predictions.observe(score)
            self._negative_log_complements.increase(negative_log_complement(score))
        else:
            self._predictions.observe_all(scores)
            self._negative_log_complements.increase(sum_of_negative_log_complements(scores))
        self._predictions_squared.increase(float(scores @ scores))
        if self._last is None:
            self._last = self._files.series(catalogue.PREDICTION_LAST, self._labels)
        self._last.set(float(scores[-1]))
        for series, indices in zip(self._features, value_indices.T, strict=True):
            if len(indices) == 1:
                series[indices[0]].increase()
                continue
            for index, count in enumerate(np.bincount(indices)):
                if count:
                    series[index].increase(float(count))

    def assigned(self, cells: Sequence[int]) -> None:
        """Count predictions for users whom the experiment gave the model, by their cells."""
        for cell in cells:
            self._cells[cell].increase()

    def _finished(self, seconds: float) -> None:
        self._in_progress.increase(-1)
        self._durations.observe(seconds)
        self._durations_squared.increase(seconds * seconds)
        if self._shortest is None or self._longest is None:
            self._shortest = self._files.series(catalogue.REQUEST_DURATION_MIN, self._labels)
            self._longest = self._files.series(catalogue.REQUEST_DURATION_MAX, self._labels)
            self._shortest.set(seconds)
            self._longest.set(seconds)
        elif seconds < self._shortest.value:
            self._shortest.set(seconds)
        elif seconds > self._longest.value:
            self._longest.set(seconds)


class _ClickRecorder:
    """The series of the clicks on one model version."""

    def __init__(self, files: WorkerFiles, labels: Mapping[str, str]) -> None:
        self._clicks = files.series(catalogue.CLICKS, labels)
        self._predictions = _Histogram(files, catalogue.CLICKED_PREDICTION, labels)
        self._negative_logs = files.series(catalogue.CLICKED_NEGATIVE_LOG, labels)
        self._complements = files.series(catalogue.CLICKED_NEGATIVE_LOG_COMPLEMENT, labels)

    def clicked(self, prediction: float) -> None:
        self._clicks.increase()
        self._predictions.observe(prediction)
        self._negative_logs.increase(negative_log(prediction))
        self._complements.increase(negative_log_complement(prediction))


class _Histogram:
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
        self._buckets[bucket_of(value, self._bounds)].increase()
        self._sum.increase(value)

    def observe_all(self, values: NDArray[np.float64]) -> None:
        for bucket, count in zip(self._buckets, bucket_counts(values, self._edges), strict=True):
            if count:
                bucket.increase(float(count))
        self._sum.increase(float(values.sum()))
