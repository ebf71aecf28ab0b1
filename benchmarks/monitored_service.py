"""A service in this process, with a week of history behind it, asked without a client's cost."""

import json
import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
from starlette.types import ASGIApp

from service.app import create_app
from service.monitoring.clicks import Click
from service.monitoring.counters import Counters
from service.monitoring.drift.report import Effects
from service.monitoring.drift.sample import DriftSample
from service.monitoring.drift.ticks import TICK_SECONDS
from service.monitoring.snapshot import Snapshot
from service.prediction.prediction_id import origin_of
from service.prediction.release import Release
from service.prediction.release_store import ReleaseStore
from service.scopes import ScopeParts
from service.settings import Settings
from service.sources.active_baselines import ActiveBaselines
from service.state.store import State, open_state
from service.telemetry.folder import MetricsFolder
from service.telemetry.recorder import Recorder
from service.telemetry.registry import registry_of
from service.ticker import TickJob

WEEK_SECONDS, DAY_SECONDS, FINE_SECONDS = 7 * 86_400.0, 86_400.0, 2 * 3600.0
MINUTE_SECONDS, HOUR_SECONDS = 60, 3600
BATCH, BULK = 1000, 10**6
CLICKS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoredService:
    """An app whose counters began a week ago."""

    app: ASGIApp
    settings: Settings
    metrics: MetricsFolder
    release: Release
    state: State

    async def get(self, path: str) -> bytes:
        """Answer as the server would have it answered.

        Raises:
            RuntimeError: The answer is not 200.
        """
        return await self._ask("GET", path, b"")

    async def predict(self, predictions: int) -> None:
        """Answer batches of ad requests of many users."""
        rng = np.random.default_rng(0)
        for _ in range(predictions // BATCH):
            body = json.dumps({"requests": [_ad_request(rng) for _ in range(BATCH)]})
            await self._ask("POST", "/predict_ctr/batch", body.encode())

    def add_worker_with(self, predictions: int) -> None:
        """Count as many predictions as if another worker had made them."""
        files = self.metrics.join()
        recorder = Recorder(files)
        rng = np.random.default_rng(0)
        for bundle in self.release.bundles.values():
            vocabularies = bundle.encoder.vocabularies
            counted = recorder.model(
                bundle.name,
                version=bundle.version,
                kind=bundle.model.kind,
                evaluator=bundle.model.evaluator.name,
                vocabularies=vocabularies,
            )
            left = predictions // len(self.release.bundles)
            while left > 0:
                rows = min(left, BULK)
                indices = np.zeros((rows, len(vocabularies)), dtype=np.int64)
                counted.started()
                counted.answered([0.002], rng.beta(2, 80, rows), indices)
                left -= rows
        files.flush()
        files.close()

    def remember_a_week(self) -> None:
        """Store a history that has grown evenly to what is counted now, and clicks on it."""
        now = time.time()
        history = self.state.history(self.settings.scope)
        newest = registry_of(self.metrics).snapshot(now)
        newest = replace(newest, counters=Counters.of(newest.counters))
        fine = (now - FINE_SECONDS) // MINUTE_SECONDS * MINUTE_SECONDS
        ticks = np.concatenate(
            [
                np.arange(newest.epoch // MINUTE_SECONDS * MINUTE_SECONDS + 60, fine, 60),
                np.arange(fine, now - 600, self.settings.snapshot_interval),
            ]
        )
        for tick in ticks.tolist():
            history.append(tick, _grown_to(newest, tick))
        samples = self.state.drift_samples(self.settings.scope)
        for model, bundle in self.release.bundles.items():
            for tick in ticks[(ticks % TICK_SECONDS == 0) & (ticks > now - HOUR_SECONDS)].tolist():
                sample = DriftSample(
                    at=tick,
                    model_version=bundle.version,
                    log_evidence=0.1,
                    effects=Effects(mean_shift=0.01, variance_ratio=1.1, shape_distance=0.02),
                    standing=(),
                )
                samples.append(int(tick), model, sample)
        rng = np.random.default_rng(1)
        for model, bundle in self.release.bundles.items():
            times = rng.uniform(now - 3 * DAY_SECONDS, now - 60, CLICKS)
            self.state.clicks.count(
                [
                    Click(
                        key=f"{model}{i}".encode(),
                        origin=origin_of(self.settings.instance),
                        model=model,
                        version=bundle.version,
                        milliseconds=int(at * 1000),
                        prediction=float(prediction),
                        experiment=self.release.plan.fingerprint,
                        cell=i % 64,
                    )
                    for i, (at, prediction) in enumerate(
                        zip(times, rng.beta(2, 80, CLICKS), strict=True)
                    )
                ]
            )

    def tick_job(self) -> TickJob:
        """Make the clock's work for this instance."""
        parts = ScopeParts(
            settings=self.settings,
            state=self.state,
            baselines=ActiveBaselines(lambda: self.release.baselines, self.state.baselines),
            plan=lambda: self.release.plan,
            holder="benchmark",
        )
        _, jobs = parts.build(registry_of(self.metrics))
        return jobs[0]

    async def _ask(self, method: str, path: str, body: bytes) -> bytes:
        path, _, query = path.partition("?")
        status, content = 0, b""
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(b"content-type", b"application/json")],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }

        async def receive() -> dict[str, object]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: MutableMapping[str, Any]) -> None:
            nonlocal status, content
            if message["type"] == "http.response.start":
                status = int(str(message["status"]))
            elif isinstance(part := message.get("body"), bytes):
                content += part

        await self.app(scope, receive, send)
        if status != HTTPStatus.OK:
            raise RuntimeError(f"{path} answers {status}: {content.decode()}")
        return content


@contextmanager
def monitored_service(folder: Path, models_dir: Path) -> Iterator[MonitoredService]:
    """Serve the models of a folder, in an A/B test, with counters that began a week ago."""
    experiment = folder / "experiment.toml"
    names = sorted(path.name for path in models_dir.iterdir() if path.is_dir())
    shares = "\n".join(f"{name} = {1 / len(names)}" for name in names)
    experiment.write_text(f'name = "cost"\nsalt = "1"\n\n[variants]\n{shares}\n')
    settings = Settings(
        state_dir=folder,
        models_dir=models_dir,
        experiment_file=experiment,
        instance="benchmark",
        bridge_enabled=False,
    )
    release = ReleaseStore(settings.releases_dir).begin(models_dir, experiment)
    metrics = MetricsFolder.begin(settings.metrics_dir, time.time() - WEEK_SECONDS)
    with open_state(settings.state_store) as state:
        yield MonitoredService(
            app=create_app(settings, metrics, release),
            settings=settings,
            metrics=metrics,
            release=release,
            state=state,
        )


def _grown_to(newest: Snapshot, at: float) -> Snapshot:
    share = (at - newest.epoch) / (newest.at - newest.epoch)
    counters = Counters.of(newest.counters)
    values = counters.array
    grown = np.where(values == np.rint(values), np.floor(values * share), values * share)
    return replace(newest, at=at, counters=Counters(counters.layout, grown), gauges={})


def _ad_request(rng: np.random.Generator) -> dict[str, str | int]:
    return {
        "user_id": f"user{rng.integers(10**6)}",
        "ad_id": f"ad{rng.integers(500)}",
        "device": ("mobile", "desktop", "tablet")[rng.integers(3)],
        "placement": ("header", "sidebar")[rng.integers(2)],
        "hour": int(rng.integers(24)),
        "day_of_week": int(rng.integers(7)),
    }
