"""What a worker serves now: one value, replaced as a whole between two turns of the event loop."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from service.monitoring.counts import ModelVersion
from service.prediction.experiment import Experiment
from service.prediction.model import Evaluator, ModelBundle
from service.prediction.release import Release
from service.telemetry.recorder import AssignedRecorder, ModelRecorder, Recorder
from service.telemetry.reservoir import Reservoir
from service.telemetry.shadow_recorder import ShadowRecorder


@dataclass(frozen=True, slots=True)
class Served:
    """A model that answers, and where what it does is recorded."""

    bundle: ModelBundle
    recorder: ModelRecorder
    reservoir: Reservoir
    assigned: AssignedRecorder | None
    """For the users whom the experiment gives it; None where nothing is compared with it."""


class Shadowing(NamedTuple):
    """A model that scores a share of the requests without answering them."""

    bundle: ModelBundle
    recorder: ShadowRecorder
    share: float
    """Of the assigned ad requests, above 0, up to 1."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ServedModels:
    """Everything that a request needs of one generation."""

    models: Mapping[str, Served]
    """By name."""
    experiment: Experiment
    shadows: Sequence[Shadowing] = ()

    @property
    def shadow_shares(self) -> Mapping[tuple[str, str], float]:
        """Share that each shadow model scores, by model and version."""
        return {(one.bundle.name, one.bundle.version): one.share for one in self.shadows}


class Serving:
    """Holds the generation that is served; for the event loop alone.

    A request keeps the generation that it began with: its model answers it and is counted for it,
    also where another one is served by then. Counters and reservoirs of a version are made once
    in the life of a worker, so that a version that comes back goes on counting.
    """

    def __init__(
        self,
        release: Release,
        *,
        recorder: Recorder,
        reservoir: Callable[[ModelVersion], Reservoir],
    ) -> None:
        self._recorder = recorder
        self._new_reservoir = reservoir
        self._recorders: dict[ModelVersion, ModelRecorder] = {}
        self._assigned_recorders: dict[tuple[ModelVersion, str], AssignedRecorder] = {}
        self._shadow_recorders: dict[ModelVersion, ShadowRecorder] = {}
        self._reservoirs: dict[ModelVersion, Reservoir] = {}
        self._release = release
        self._now = self._served(release)

    @property
    def release(self) -> Release:
        """The generation that is served."""
        return self._release

    @property
    def now(self) -> ServedModels:
        """The same, as requests see it."""
        return self._now

    @property
    def versions(self) -> Mapping[str, str]:
        """Version by model."""
        return {name: bundle.version for name, bundle in self._release.bundles.items()}

    @property
    def evaluators(self) -> Mapping[str, Evaluator]:
        """What computes single predictions, by model."""
        return {name: bundle.model.evaluator for name, bundle in self._release.bundles.items()}

    @property
    def reservoirs(self) -> Sequence[Reservoir]:
        """Of every version that this worker has served: what they keep is still to be stored."""
        return tuple(self._reservoirs.values())

    def switch(self, release: Release) -> None:
        """Serve another generation from the next request on."""
        before, self._now = self._now, self._served(release)
        self._release = release
        for name, old in before.models.items():
            served = self._now.models.get(name)
            if served is None or served.recorder is not old.recorder:
                old.recorder.retired()
        self._recorder.flush()

    def _served(self, release: Release) -> ServedModels:
        return ServedModels(
            models={
                name: self._one(bundle, release.experiment)
                for name, bundle in release.bundles.items()
            },
            experiment=release.experiment,
            shadows=[
                Shadowing(bundle, self._shadow_recorder(bundle), share)
                for name, share in release.experiment.shadow.items()
                for bundle in (release.bundles[name],)
            ],
        )

    def _one(self, bundle: ModelBundle, experiment: Experiment) -> Served:
        version = ModelVersion(bundle.name, bundle.version)
        if version in self._recorders:
            self._recorders[version].serves_again()
        else:
            self._recorders[version] = self._recorder.model(
                bundle.name,
                version=bundle.version,
                kind=bundle.model.kind,
                evaluator=bundle.model.evaluator.name,
                vocabularies=bundle.encoder.vocabularies,
            )
            self._reservoirs[version] = self._new_reservoir(version)
        compared = experiment.compares and experiment.weights.get(bundle.name)
        return Served(
            bundle,
            self._recorders[version],
            self._reservoirs[version],
            self._assigned_recorder(version, experiment.key) if compared else None,
        )

    def _assigned_recorder(self, version: ModelVersion, experiment: str) -> AssignedRecorder:
        known = self._assigned_recorders
        if (version, experiment) not in known:
            known[version, experiment] = self._recorder.assigned(
                version.model, version=version.version, experiment=experiment
            )
        return known[version, experiment]

    def _shadow_recorder(self, bundle: ModelBundle) -> ShadowRecorder:
        version = ModelVersion(bundle.name, bundle.version)
        if version not in self._shadow_recorders:
            self._shadow_recorders[version] = self._recorder.shadow(
                bundle.name, version=bundle.version
            )
        return self._shadow_recorders[version]
