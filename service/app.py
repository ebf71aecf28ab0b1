"""The composition root: the only module that knows every part of a worker."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from service import __version__
from service.api.body_gate import BodyGate
from service.api.errors import install_error_handlers
from service.api.operations import operations_router
from service.api.predict import predict_router
from service.prediction.experiment import Experiment
from service.prediction.model_folder import load_models
from service.prediction.prediction_id import signing_key
from service.prediction.predictor import Predictor, Served
from service.settings import Settings
from service.telemetry.folder import MetricsFolder
from service.telemetry.recorder import Recorder
from service.telemetry.registry import registry_of


def create_app(settings: Settings, metrics: MetricsFolder) -> FastAPI:
    """Build one worker, which counts in the epoch that ``metrics`` holds.

    Raises:
        ModelFolderError: A model is missing or damaged.
        ExperimentError: The experiment cannot be run with these models.
    """
    bundles = load_models(settings.models_dir)
    files = metrics.join()
    recorder = Recorder(files)
    served = {
        name: Served(
            bundle,
            recorder.model(
                name,
                version=bundle.version,
                kind=bundle.model.kind,
                vocabularies=bundle.encoder.vocabularies,
            ),
        )
        for name, bundle in bundles.items()
    }
    predictor = Predictor(
        served=served,
        experiment=Experiment.load(settings.experiment_file, models=list(bundles)),
        recorder=recorder,
        signing_key=signing_key(settings.signing_key, settings.state_dir / "signing.key"),
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        files.close()

    app = FastAPI(
        title="ctr-monitor",
        version=__version__,
        summary="Click-through-rate predictions whose monitoring can be trusted.",
        lifespan=lifespan,
    )
    install_error_handlers(app, recorder)
    app.include_router(predict_router(predictor))
    app.include_router(
        operations_router(
            registry_of(metrics), {name: bundle.version for name, bundle in bundles.items()}
        )
    )
    app.add_middleware(BodyGate, recorder=recorder, max_bytes=settings.max_body_bytes)
    return app


def create_worker() -> FastAPI:
    """Build a worker of the epoch that the launcher has begun, from the environment."""
    settings = Settings.from_environment(os.environ)
    return create_app(settings, MetricsFolder.latest(settings.metrics_dir))
