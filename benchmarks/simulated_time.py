"""A service with its bridge, on a clock that a simulation sets: all of the real code but HTTP.

What is left out is the event loop's sockets, scoring, and MLflow, in whose place is a receiver that
adds up what it is told. What runs is metrics files, ticker, history, all judges, feedback, samples,
freezing, outbox and sending.
"""

import asyncio
import random
import secrets
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np

from bridge.process import Bridge
from bridge.tracking_uri import store_of
from service.monitoring.counts import ModelVersion
from service.monitoring.snapshot import Snapshot
from service.monitoring.tracking import Point, TrackedRun
from service.prediction.feedback import Feedback, FeedbackEvent
from service.prediction.model import ModelBundle
from service.prediction.prediction_id import Signer, origin_of
from service.prediction.release_store import ReleaseStore
from service.sampling import Sampling
from service.scopes import ScopeParts
from service.settings import Settings
from service.sources.active_baselines import ActiveBaselines
from service.sources.history_source import HistorySource
from service.state.store import State, open_state
from service.telemetry.folder import MetricsFolder
from service.telemetry.judgements import JudgementGauges
from service.telemetry.recorder import AssignedRecorder, ModelRecorder, Recorder
from service.telemetry.registry import registry_of
from service.telemetry.reservoir import Reservoir
from service.ticker import Ticker

DAY_SECONDS = 86_400
HISTORY_SECONDS = 2 * DAY_SECONDS
ATTRIBUTION_SECONDS = 7200
BRIDGE_WINDOW_SECONDS = 3600
_CLICKED_AFTER_SECONDS = 600
_BRIDGE_EVERY_SECONDS = 600
_MEAN_PREDICTIONS = 20


@dataclass
class Receiver:
    """In MLflow's place: takes everything, keeps sums by day only."""

    requests: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """By day of the run, over its windows."""
    completeness: list[float] = field(default_factory=list)
    runs: int = 0
    experiment_id: str | None = "1"

    def connect(self) -> str:
        """Be there."""
        return "receiver"

    def find_or_create(self, run: TrackedRun, parent_id: str | None) -> str:  # noqa: ARG002 - port
        """Name a run by its day."""
        self.runs += 1
        return f"{run.day} {run.key}"

    def tell(self, run_id: str, points: Sequence[Point], tags: Mapping[str, str]) -> None:  # noqa: ARG002 - port
        """Add up."""
        day = run_id.split(maxsplit=1)[0]
        for point in points:
            if point.name == "requests_in_window":
                self.requests[day] += point.value
            elif point.name == "day/completeness":
                self.completeness.append(point.value)

    def tell_params(self, run_id: str, params: Mapping[str, str]) -> None:
        """Take them."""

    def attach(self, run_id: str, file: Path, folder: str) -> None:
        """Take it."""

    def register(self, run_id: str, model_name: str, version: str) -> None:
        """Take it."""

    def finish(self, run_id: str, end_ms: int) -> None:
        """Take it."""


@dataclass
class Clock:
    """Unix seconds, as the simulation sets them."""

    now: float

    def __call__(self) -> float:
        """Give the present."""
        return self.now


class Traffic:
    """What clients do between two ticks."""

    def __init__(
        self, models: Sequence["_Model"], feedback: Feedback, signer: Signer, experiment: int
    ) -> None:
        self.models = models
        self._feedback = feedback
        self._signer = signer
        self._experiment = experiment
        self._rng = np.random.default_rng(0)
        self._clicks: deque[tuple[float, FeedbackEvent]] = deque()
        self.sent: dict[str, int] = defaultdict(int)
        """Requests by UTC day."""
        self.clicks = 0

    def happen(self, now: float) -> None:
        """Predict just before ``now``, in Unix seconds, and click on what was predicted before."""
        day = datetime.fromtimestamp(now - 1, UTC).date().isoformat()
        for model in self.models:
            self.sent[day] += self._predictions(model, now - 1)
        events = []
        while self._clicks and self._clicks[0][0] <= now - _CLICKED_AFTER_SECONDS:
            events.append(self._clicks.popleft()[1])
        if events:
            outcome = self._feedback.take(events, now)
            self._feedback.record(outcome)
            self.clicks += len(outcome.clicks)

    def _predictions(self, model: "_Model", at: float) -> int:
        count = int(self._rng.poisson(_MEAN_PREDICTIONS))
        if not count:
            return 0
        scores = self._rng.beta(2, 80, count)
        cells = self._rng.integers(64, size=count).tolist()
        seconds = self._rng.lognormal(-6, 0.5, count).tolist()
        model.recorder.started(count)
        model.recorder.answered(seconds, scores, np.zeros((count, model.features), dtype=np.int64))
        model.reservoir.answered(at, seconds, [1] * count, scores)
        model.assigned.predicted(cells)
        ids = self._signer.sign(
            *model.version,
            scores.tolist(),
            cells,
            experiment=self._experiment,
            milliseconds=int(at * 1000),
        )
        clicked = self._rng.random(count) < scores
        self._clicks += [
            (at, FeedbackEvent(name, clicked=True, at=None))
            for name, click in zip(ids, clicked, strict=True)
            if click
        ]
        return count


@dataclass(frozen=True)
class _Model:
    version: ModelVersion
    recorder: ModelRecorder
    assigned: AssignedRecorder
    reservoir: Reservoir
    features: int


@dataclass(frozen=True, kw_only=True)
class World:
    """Everything that lives."""

    settings: Settings
    clock: Clock
    traffic: Traffic
    receiver: Receiver
    state: State
    source: HistorySource
    ticker: Callable[..., Ticker]
    bridge: Bridge

    def run(self, until: float, each_day: Callable[[float], None]) -> None:
        """Let time pass; ``each_day`` is told of every midnight in UTC, after its tick."""
        with asyncio.Runner() as runner:
            runner.run(self._run(until, each_day))

    async def _run(self, until: float, each_day: Callable[[float], None]) -> None:
        async def sleep(seconds: float) -> None:
            began = self.clock.now
            # The tick before is done: what comes at its time comes now.
            if began % _BRIDGE_EVERY_SECONDS == 0:
                self._bridge()
            if began % DAY_SECONDS == 0:
                each_day(began)
            if began >= until:
                raise asyncio.CancelledError
            self.clock.now = began + seconds
            self.traffic.happen(self.clock.now)

        ticker = self.ticker(sleep=sleep)
        try:
            await ticker.run()
        except asyncio.CancelledError:
            await asyncio.to_thread(ticker.stop)

    def _bridge(self) -> None:
        self.bridge.keep_lease()
        self.bridge.freeze()
        self.bridge.send()
        self.bridge.file()
        self.bridge.keep_house()


@contextmanager
def simulated(
    folder: Path, models_dir: Path, *, began: float, tick_seconds: int
) -> Iterator[World]:
    """Begin a life at ``began``, in Unix seconds, with every model in an A/B test.

    Args:
        folder: Of the state and of what the bridge draws.
        models_dir: Models with their baselines.
        began: The first midnight.
        tick_seconds: From one tick to the next; more than a minute is more than an operator can
            set, and makes a day cheaper.
    """
    settings = _settings(folder, models_dir, tick_seconds)
    clock, receiver = Clock(began), Receiver()
    release = ReleaseStore(settings.releases_dir).begin(models_dir, settings.experiment_file)
    metrics = MetricsFolder.begin(settings.metrics_dir, began)
    with open_state(settings.state_store) as state:
        history = state.history(settings.scope)
        # As the launcher does: the history begins at zero.
        history.append(began, Snapshot(at=began, epoch=began, counters={}, gauges={}))
        files, key = metrics.join(), secrets.token_bytes(32)
        recorder = Recorder(files)
        models = [
            _model(bundle, recorder, settings, release.plan.key)
            for bundle in release.bundles.values()
        ]
        baselines = ActiveBaselines(lambda: release.baselines, state.baselines)
        parts = ScopeParts(
            settings=settings,
            state=state,
            baselines=baselines,
            plan=lambda: release.plan,
            holder=files.worker,
            clock=clock,
        )
        registry = registry_of(metrics)
        scopes, [job] = parts.build(registry)
        source = scopes.of(None).source
        sampling = Sampling(
            reservoirs=lambda: [model.reservoir for model in models],
            store=state.sampled_windows(settings.monitored_scope),
            worker=files.worker,
        )
        feedback = Feedback(
            clicks=state.clicks,
            recorder=recorder,
            signing_keys=[key],
            attribution_seconds=settings.attribution_window,
        )
        yield World(
            settings=settings,
            clock=clock,
            traffic=Traffic(
                models,
                feedback,
                Signer(key, origin=origin_of(settings.instance)),
                release.plan.fingerprint,
            ),
            receiver=receiver,
            state=state,
            source=source,
            ticker=partial(
                Ticker,
                job=replace(job, interval_seconds=tick_seconds),
                gauges=JudgementGauges(files),
                baselines=baselines,
                sampling=sampling,
                clock=clock,
            ),
            bridge=Bridge(
                settings,
                store_of(settings, folder),
                state,
                tracking=receiver,
                draw_report=partial(_drawn, folder),
                clock=clock,
                monotonic=clock,
            ),
        )
        files.close()


def _settings(folder: Path, models_dir: Path, tick_seconds: int) -> Settings:
    names = sorted(path.name for path in models_dir.iterdir() if path.is_dir())
    experiment = folder / "experiment.toml"
    shares = "\n".join(f"{name} = {1 / len(names)}" for name in names)
    experiment.write_text(f'name = "months"\nsalt = "1"\n\n[variants]\n{shares}\n')
    return Settings(
        state_dir=folder / "state",
        models_dir=models_dir,
        experiment_file=experiment,
        instance="simulated",
        snapshot_interval=min(tick_seconds, 60),
        history=HISTORY_SECONDS,
        attribution_window=ATTRIBUTION_SECONDS,
        bridge_window=BRIDGE_WINDOW_SECONDS,
        samples_per_window=10,
    )


def _model(bundle: ModelBundle, recorder: Recorder, settings: Settings, experiment: str) -> _Model:
    version = ModelVersion(bundle.name, bundle.version)
    vocabularies = bundle.encoder.vocabularies
    return _Model(
        version=version,
        recorder=recorder.model(
            bundle.name,
            version=bundle.version,
            kind=bundle.model.kind,
            evaluator=bundle.model.evaluator.name,
            vocabularies=vocabularies,
        ),
        assigned=recorder.assigned(bundle.name, version=bundle.version, experiment=experiment),
        reservoir=Reservoir(
            version,
            window_seconds=settings.bridge_window,
            most=settings.samples_per_window,
            rng=random.Random(0),  # noqa: S311 - a sample, no secret
        ),
        features=len(vocabularies),
    )


def _drawn(folder: Path, _: str) -> Path:
    # A page costs a second of processor; that one is drawn right is tested with the bridge.
    page = folder / "report" / "report.html"
    page.parent.mkdir()
    page.touch()
    return page
