"""Recording: what happened to the requests of each turn, in bulk."""

from collections.abc import Iterable, Mapping, Sequence
from operator import add, mul

import numpy as np
from numpy.typing import NDArray

from service.monitoring import catalogue
from service.monitoring.catalogue import ErrorType, FeedbackResult, Outcome, Rejection
from service.monitoring.cells import CELLS
from service.monitoring.clicks import (
    Click,
    negative_log_complement,
    sum_of_negative_log_complements,
)
from service.monitoring.counts import ModelVersion
from service.telemetry.click_recorder import ClickRecorder
from service.telemetry.histogram_series import HistogramSeries
from service.telemetry.series import Series, WorkerFiles
from service.telemetry.shadow_recorder import ShadowRecorder

_FEW_SCORES = 12
_FEW_ROWS = 4
"""Up to so many Python is done before a call of numpy has begun; measured."""


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
        self._clicks: dict[ModelVersion, ClickRecorder] = {}
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
                :meth:`ModelRecorder.answered` receives their indices.
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

    def _clicks_of(self, model: ModelVersion) -> ClickRecorder:
        """Find the series of a version; clicks come in for versions served no more, too."""
        if model not in self._clicks:
            labels = {"model": model.model, "version": model.version}
            self._clicks[model] = ClickRecorder(self._files, labels)
        return self._clicks[model]

    def flush(self) -> None:
        """Say that something was recorded until now; answers leave only after this."""
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
        sizes = [len(values) for values in vocabularies.values()]
        self._first_of_feature = np.cumsum([0, *sizes[:-1]])
        self._first_of_feature_list: list[int] = self._first_of_feature.tolist()
        self._features = files.block(
            catalogue.FEATURE_VALUES,
            (
                {**labels, "feature": feature, "value": value}
                for feature, values in vocabularies.items()
                for value in values
            ),
        )
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

    def started(self, requests: int = 1) -> None:
        """Count requests that are being answered from now on."""
        self._in_progress.increase(requests)

    def failed(self, seconds: float, error: ErrorType) -> None:
        """Record one request that the model failed, ``seconds`` after its body arrived."""
        self._outcomes[Outcome.ERROR].increase()
        self._errors[error].increase()
        self._in_progress.increase(-1)
        self._durations.observe(seconds)
        self._durations_squared.increase(seconds * seconds)
        self._extremes(seconds, seconds)

    def answered(
        self,
        seconds: Sequence[float],
        scores: NDArray[np.float64],
        value_indices: NDArray[np.int64],
    ) -> None:
        """Record all requests of one turn that the model answered.

        Args:
            seconds: How long after the arrival of its body each request was answered, at least
                one.
            scores: Predicted CTR, shape ``(n,)``; a request of a batch has many.
            value_indices: For each prediction the index of its value in each vocabulary,
                shape ``(n, features)``.
        """
        self._outcomes[Outcome.SUCCESS].increase(len(seconds))
        self._in_progress.increase(-len(seconds))
        self._durations.observe(*seconds)
        self._durations_squared.increase(sum(map(mul, seconds, seconds)))
        self._extremes(min(seconds), max(seconds))
        self._scored(scores)
        self._counted_by_feature(value_indices)
        last = float(scores[-1])
        if self._last is None:
            self._last = self._files.series(catalogue.PREDICTION_LAST, self._labels, value=last)
        else:
            self._last.set(last)

    def _scored(self, scores: NDArray[np.float64]) -> None:
        if len(scores) <= _FEW_SCORES:
            listed = scores.tolist()
            self._predictions.observe(*listed)
            self._predictions_squared.increase(sum(map(mul, listed, listed)))
            self._negative_log_complements.increase(sum(map(negative_log_complement, listed)))
        else:
            self._predictions.observe_all(scores)
            self._predictions_squared.increase(float(scores.dot(scores)))
            self._negative_log_complements.increase(sum_of_negative_log_complements(scores))

    def _counted_by_feature(self, value_indices: NDArray[np.int64]) -> None:
        if len(value_indices) <= _FEW_ROWS:
            for row in value_indices.tolist():
                self._features.count_few(map(add, self._first_of_feature_list, row))
        else:
            self._features.count((value_indices + self._first_of_feature).ravel())

    def _extremes(self, shortest: float, longest: float) -> None:
        if self._shortest is None or self._longest is None:
            create, labels = self._files.series, self._labels
            self._shortest = create(catalogue.REQUEST_DURATION_MIN, labels, value=shortest)
            self._longest = create(catalogue.REQUEST_DURATION_MAX, labels, value=longest)
            return
        if shortest < self._shortest.value:
            self._shortest.set(shortest)
        if longest > self._longest.value:
            self._longest.set(longest)


class AssignedRecorder:
    """The series of the users whom one experiment gave one model version."""

    def __init__(self, files: WorkerFiles, labels: Mapping[str, str]) -> None:
        self._cells = files.block(
            catalogue.ASSIGNED_PREDICTIONS,
            ({**labels, "cell": str(cell)} for cell in range(CELLS)),
        )

    def predicted(self, cells: Sequence[int]) -> None:
        """Count predictions, each by the cell of its user."""
        self._cells.count(np.array(cells, dtype=np.int64))
