"""The composition root: the only module that knows every part of a worker."""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI
from starlette.types import ASGIApp

from service.api.admission import Admission
from service.api.body_gate import BodyGate
from service.api.browser_headers import BrowserHeaders
from service.api.documented_api import DocumentedApi
from service.api.drift import drift_router
from service.api.errors import install_error_handlers
from service.api.experiment import experiment_router
from service.api.fast_lane import FastLane
from service.api.feedback import feedback_router
from service.api.history import history_router
from service.api.mlflow import mlflow_router
from service.api.models import models_router
from service.api.monitoring import monitoring_router
from service.api.operations import operations_router
from service.api.page import page_router
from service.api.predict import predict_router
from service.api.quality import quality_router
from service.api.reference import reference_router
from service.api.request_ids import RequestIds
from service.api.shadow import shadow_router
from service.api.shared_answers import SharedAnswers
from service.api.write_guard import WriteGuard
from service.logs import begin_logging
from service.monitoring.counts import ModelVersion
from service.prediction.faults import FaultInjector, parse_faults
from service.prediction.feedback import Feedback
from service.prediction.prediction_id import Signer, origin_of
from service.prediction.predictor import Predictor
from service.prediction.release import Release
from service.prediction.release_store import ReleaseStore
from service.prediction.serving import Serving
from service.prediction.shadow import ShadowScorer
from service.prediction.signing_keys import signing_keys
from service.release_follower import ReleaseFollower
from service.releasing import Releases, reloading_on_hangup
from service.sampling import Sampling
from service.scopes import ScopeParts
from service.settings import Settings
from service.sources.active_baselines import ActiveBaselines
from service.state.bridge_statuses import BridgeStatuses
from service.state.store import open_state
from service.telemetry.folder import MetricsFolder
from service.telemetry.judgements import JudgementGauges
from service.telemetry.recorder import Recorder
from service.telemetry.registry import registry_of
from service.telemetry.reservoir import Reservoir
from service.ticker import Ticker
from service.worker_process import end_with_parent, favour_event_loop


def create_app(settings: Settings, metrics: MetricsFolder, release: Release) -> ASGIApp:
    """Build one worker, which begins with ``release`` and counts in the epoch of ``metrics``.

    Raises:
        StateError: The state store cannot be used.
    """
    state = open_state(settings.state_store)
    files = metrics.join()
    recorder = Recorder(files)

    def reservoir(model: ModelVersion) -> Reservoir:
        return Reservoir(
            model,
            window_seconds=settings.bridge_window,
            most=settings.samples_per_window,
            rng=random.Random(),  # noqa: S311 - a sample, no secret
        )

    serving = Serving(release, recorder=recorder, reservoir=reservoir)
    shadow = ShadowScorer(recorder)
    keys = signing_keys(*settings.signing_keys)
    predictor = Predictor(
        serving=lambda: serving.now,
        recorder=recorder,
        shadow=shadow,
        signer=Signer(keys[0], origin=origin_of(settings.instance)),
        faults=FaultInjector(parse_faults(settings.faults), started=time.monotonic()),
    )

    feedback = Feedback(
        clicks=state.clicks,
        recorder=recorder,
        signing_keys=keys,
        attribution_seconds=settings.attribution_window,
    )

    registry = registry_of(metrics)
    baselines = ActiveBaselines(lambda: serving.release.baselines, state.baselines)
    gauges = JudgementGauges(files)
    sampling = Sampling(
        reservoirs=lambda: serving.reservoirs,
        store=state.sampled_windows(settings.monitored_scope),
        worker=files.worker,
    )
    parts = ScopeParts(
        settings=settings,
        state=state,
        baselines=baselines,
        plan=lambda: serving.release.plan,
        holder=files.worker,
    )
    scopes, jobs = parts.build(registry)
    tickers = [
        Ticker(job=job, gauges=gauges, baselines=baselines, sampling=sampling if i == 0 else None)
        for i, job in enumerate(jobs)
    ]

    store = ReleaseStore(settings.releases_dir)
    follower = ReleaseFollower(store=store, serving=serving, worker=files.worker)
    releases = Releases(
        store=store,
        models_dir=settings.models_dir,
        experiment_file=settings.experiment_file,
        workers=metrics.living_workers,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await follower.catch_up()
        favour_event_loop()
        tasks = [follower.run(), *(ticker.run() for ticker in tickers)]
        running = [asyncio.create_task(task) for task in tasks]
        with reloading_on_hangup(releases):
            yield
        for task in running:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        shadow.finish()
        for ticker in tickers:
            await asyncio.to_thread(ticker.stop)
        parts.close()
        state.close()
        files.close()

    app = DocumentedApi(
        lifespan=lifespan,
        docs_url=None,  # They are in reference_router.
        redoc_url=None,
        # What happens is recorded in our own metrics; to find that nobody has set OpenTelemetry up
        # costs each request as much as to parse its body.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    install_error_handlers(app, recorder)
    app.include_router(predict_router(predictor))
    guard = WriteGuard(settings.api_token, loopback=settings.loopback)
    app.include_router(feedback_router(feedback, guard))
    app.include_router(models_router(releases, guard))
    app.include_router(
        operations_router(
            registry_of(metrics, shown_only=True),
            lambda: serving.versions,
            lambda: serving.evaluators,
        )
    )
    app.include_router(
        monitoring_router(
            scopes=scopes,
            baselines=baselines,
            gauges=gauges,
            history_seconds=settings.history,
            min_predictions=settings.min_predictions,
            rehearsal=settings.faults,
            guard=guard,
        )
    )
    app.include_router(
        shadow_router(
            scopes, shares=lambda: serving.now.shadow_shares, history_seconds=settings.history
        )
    )
    app.include_router(history_router(scopes, baselines, history_seconds=settings.history))
    app.include_router(drift_router(scopes, baselines, history_seconds=settings.history))
    app.include_router(
        quality_router(scopes, baselines, longest_seconds=settings.longest_quality_window)
    )
    app.include_router(
        mlflow_router(
            statuses=BridgeStatuses(state.values, settings.monitored_scope),
            outbox=state.outbox(settings.monitored_scope),
            ui_url=settings.mlflow_ui,
        )
    )
    for router in (experiment_router(scopes), page_router(), reference_router()):
        app.include_router(router)
    # Outside of the app: its own middleware costs a request more than its body.
    return RequestIds(
        BodyGate(
            Admission(
                FastLane(BrowserHeaders(SharedAnswers(app)), predictor=predictor),
                recorder=recorder,
                most_at_once=settings.max_concurrency,
            ),
            recorder=recorder,
            max_batch_bytes=settings.max_body_bytes,
        )
    )


def create_worker() -> ASGIApp:
    """Build a worker of the epoch that the launcher has begun, from the environment."""
    begin_logging(os.environ, process="worker")
    end_with_parent()
    settings = Settings.from_environment(os.environ)
    metrics = MetricsFolder.latest(settings.metrics_dir)
    return create_app(settings, metrics, ReleaseStore(settings.releases_dir).serving())
