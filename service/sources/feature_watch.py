"""Runs the test of every model's features, and remembers its state with each tick."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from service.monitoring.baseline import Baseline
from service.monitoring.counts import feature_counts, of_version
from service.monitoring.drift.ticks import TICK_SECONDS
from service.monitoring.feature_drift.course import FeatureCourse, UnusableFeatureError
from service.monitoring.feature_drift.detector import FeatureDetector
from service.monitoring.feature_drift.report import FeatureDrift, feature_drifts
from service.monitoring.feature_drift.state import FeatureState
from service.monitoring.monitor import Source
from service.monitoring.snapshot import Snapshot
from service.sources.active_baselines import ActiveBaselines
from service.state.baselines import BaselineRevision
from service.state.keyed import KeyedValues


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Prepared:
    """A detector for one baseline."""

    key: str
    detector: FeatureDetector | None
    unusable: Mapping[str, str]
    """Why features cannot be judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSight:
    """What one tick said about the features of one model."""

    model: str
    version: str
    features: Sequence[FeatureDrift]
    """Empty where the baseline knows no features."""


class FeatureWatch:
    """The detectors of one scope."""

    def __init__(
        self,
        *,
        values: KeyedValues,
        scope: str,
        source: Source,
        baselines: ActiveBaselines,
        window_seconds: float,
        min_predictions: int,
    ) -> None:
        self._values = values
        self._scope = scope
        self._source = source
        self._baselines = baselines
        self._window_seconds = window_seconds
        self._min_predictions = min_predictions
        self._prepared: dict[str, _Prepared] = {}

    def advance(self, now: Snapshot) -> list[FeatureSight]:
        """Fold what happened since the last tick into every model's state."""
        revisions = self._baselines.all()
        for revision in revisions:
            self._advance(revision, now)
        return [self._sight(revision, now.at) for revision in revisions]

    def sights(self, now: float) -> list[FeatureSight]:
        """What the last tick said about every model, whoever folded it."""
        return [self._sight(revision, now) for revision in self._baselines.all()]

    def report(self, model: str, now: float) -> FeatureSight:
        """Describe the features of a model as of its last tick.

        Args:
            model: Its name.
            now: Where the drift window ends, in Unix seconds.

        Raises:
            KeyError: The model is not served.
        """
        return self._sight(self._baselines.of(model), now)

    def _sight(self, revision: BaselineRevision, now: float) -> FeatureSight:
        baseline, prepared = revision.baseline, self._for(revision)
        return FeatureSight(
            model=baseline.model_name,
            version=baseline.model_version,
            features=feature_drifts(
                prepared.detector,
                prepared.unusable,
                self._load(baseline.model_name, prepared),
                window_start=now - self._window_seconds,
                min_predictions=self._min_predictions,
            ),
        )

    def _advance(self, revision: BaselineRevision, now: Snapshot) -> None:
        model, version = revision.baseline.model_name, revision.baseline.model_version
        prepared = self._for(revision)
        if prepared.detector is None:
            return
        state = self._load(model, prepared) or prepared.detector.start()
        seconds = TICK_SECONDS if state.time is None else now.at - state.time
        increases = self._source.window(seconds, until=now).increases
        counts = feature_counts(of_version(increases, model, version))
        state = prepared.detector.advance(state, counts, end=now.at)
        self._values.save(self._scope, _name(model), state.to_json().encode())

    def _load(self, model: str, prepared: _Prepared) -> FeatureState | None:
        state = self._values.read(self._scope, _name(model), FeatureState.from_json)
        return state if state is not None and state.key == prepared.key else None

    def _for(self, revision: BaselineRevision) -> _Prepared:
        baseline = revision.baseline
        key = "/".join(
            (baseline.model_version, str(revision.revision), baseline.created_at.isoformat())
        )
        known = self._prepared.get(baseline.model_name)
        if known is None or known.key != key:
            known = self._prepare(key, baseline)
            self._prepared[baseline.model_name] = known
        return known

    def _prepare(self, key: str, baseline: Baseline) -> _Prepared:
        courses: dict[str, FeatureCourse] = {}
        unusable: dict[str, str] = {}
        for feature, distribution in baseline.features.items():
            try:
                courses[feature] = FeatureCourse.of(feature, distribution)
            except UnusableFeatureError as error:
                unusable[feature] = str(error)
        detector = (
            FeatureDetector(courses, key=key, window_seconds=self._window_seconds)
            if courses
            else None
        )
        return _Prepared(key=key, detector=detector, unusable=unusable)


def _name(model: str) -> str:
    return f"features:{model}"
