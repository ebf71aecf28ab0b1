"""Recording: what happened to each request, added up until the flush at the end of the turn."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from service.monitoring import catalogue
from service.monitoring.catalogue import ErrorType, FeedbackResult, Outcome, Rejection
from service.monitoring.cells import CELLS
from service.monitoring.clicks import (
    Click,
    negative_log,
    negative_log_complement,
    sum_of_negative_log_complements,
)
from service.monitoring.counts import ModelVersion
from service.telemetry.histogram_series import HistogramSeries
from service.telemetry.series import Series, WorkerFiles
from service.telemetry.shadow_recorder import ShadowRecorder


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
        evaluator: str,
        vocabularies: Mapping[str, Sequence[str]],
    ) -> "ModelRecorder":
        """Create every series of a model version, at zero.

        Args:
            name: Name of the model.
            version: Its version.
            kind: What kind of model it is.
            evaluator: What computes its single predictions.
            vocabularies: The values of each bounded feature, in the order in which
                :meth:`ModelRecorder.predicted` receives their indices.
        """
        recorder = ModelRecorder(
            self._files, {"model": name, "version": version}, kind, evaluator, vocabularies
        )
        self._clicks_of(ModelVersion(name, version))
        self._files.flush()
        return recorder

    def assigned(self, name: str, *, version: str, experiment: str) -> "AssignedRecorder":
        """Create the series of what an experiment gives a model version, at zero."""
        labels = {"model": name, "version": version, "experiment": experiment}
        recorder = AssignedRecorder(self._files, labels)
        self._files.flush()
        return recorder

    def shadow(self, name: str, *, version: str) -> ShadowRecorder:
        """Create every series of what a model version scores without answering, at zero."""
        recorder = ShadowRecorder(self._files, {"model": name, "version": version})
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
        evaluator: str,
        vocabularies: Mapping[str, Sequence[str]],
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
        self._durations = HistogramSeries(files, catalogue.REQUEST_DURATION, labels)
        self._durations_squared = files.series(catalogue.REQUEST_DURATION_SQUARED, labels)
        self._predictions = HistogramSeries(files, catalogue.PREDICTION, labels)
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
        # These three exist only once there is a value to show.
        self._shortest: Series | None = None
        self._longest: Series | None = None
        self._last: Series | None = None
        self._info = (
            files.series(catalogue.MODEL_INFO, {**labels, "model_kind": kind}),
            files.series(catalogue.MODEL_EVALUATOR, {**labels, "evaluator": evaluator}),
        )
        self.serves_again()

    def serves_again(self) -> None:
        """Show that this worker serves the version."""
        for info in self._info:
            info.set(1.0)

    def retired(self) -> None:
        """Show that this worker gives the version no more requests; what it counted stays."""
        for info in self._info:
            info.set(0.0)

    def started(self) -> None:
        """Count a request that is being answered from now on."""
        self._in_progress.increase()

    def succeeded(self, seconds: float) -> None:
        """Record one request that the model answered, ``seconds`` after its body arrived."""
        self._outcomes[Outcome.SUCCESS].increase()
        self._finished(seconds)

    def answered(
        self,
        seconds: Sequence[float],
        scores: NDArray[np.float64],
        value_indices: NDArray[np.int64],
    ) -> None:
        """Record the requests of a turn that the model answered."""
        for one in seconds:
            self.succeeded(one)
        self.predicted(scores, value_indices)

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


class AssignedRecorder:
    """The series of the users whom one experiment gave one model version."""

    def __init__(self, files: WorkerFiles, labels: Mapping[str, str]) -> None:
        self._cells = [
            files.series(catalogue.ASSIGNED_PREDICTIONS, {**labels, "cell": str(cell)})
            for cell in range(CELLS)
        ]

    def predicted(self, cells: Iterable[int]) -> None:
        """Count predictions, each by the cell of its user."""
        for cell in cells:
            self._cells[cell].increase()


class _ClickRecorder:
    """The series of the clicks on one model version."""

    def __init__(self, files: WorkerFiles, labels: Mapping[str, str]) -> None:
        self._clicks = files.series(catalogue.CLICKS, labels)
        self._predictions = HistogramSeries(files, catalogue.CLICKED_PREDICTION, labels)
        self._negative_logs = files.series(catalogue.CLICKED_NEGATIVE_LOG, labels)
        self._complements = files.series(catalogue.CLICKED_NEGATIVE_LOG_COMPLEMENT, labels)

    def clicked(self, prediction: float) -> None:
        self._clicks.increase()
        self._predictions.observe(prediction)
        self._negative_logs.increase(negative_log(prediction))
        self._complements.increase(negative_log_complement(prediction))
