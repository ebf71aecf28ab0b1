"""Starts the service: listens, begins a new life, runs the workers."""

import argparse
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import uvicorn

from service.allocator import give_memory_back
from service.beginning import CannotStartError, begin, only_service, writable
from service.bridge_process import bridge_beside
from service.command_line import Command, ExitStatus
from service.http_protocol import BoundedHttpProtocol
from service.logs import say
from service.prediction.faults import InvalidFaultsError
from service.prediction.release import ReleaseRefusedError
from service.prediction.release_store import ReleaseBusyError
from service.prediction.signing_keys import InvalidSigningKeyError
from service.settings import InvalidSettingsError, Settings, variable
from service.state.errors import StateError
from service.supervisor import Workers
from service.telemetry.errors import CountersUnavailableError
from service.worker_process import allow_open_files, interrupt_waits

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_LOGGER = logging.getLogger(__name__)

_WORKER_SILENCE_SECONDS = 30
"""A worker is silent while it imports; on a busy machine the default of 5 s kills it for ever."""
_LAST_ANSWERS_SECONDS = 10
"""When told to stop: how long requests that are being answered may take."""
_ACCEPTED_AT_ONCE = 16
"""Handles on the listening socket. Of each the event loop accepts one connection a turn, and under
load a turn takes 10 ms: with one, the probes of an orchestrator would wait behind 100 a second."""
_FLAGS = ("host", "port", "workers", "state_dir", "models_dir", "experiment_file")


def _run(flags: argparse.Namespace) -> int:
    given = {variable(flag): getattr(flags, flag) for flag in _FLAGS if getattr(flags, flag)}
    # Workers are processes of their own and read the same variables.
    os.environ.update(given)
    _serve(Settings.from_environment(os.environ))
    return ExitStatus.DONE


def _add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", help="port to listen on (8000)")
    parser.add_argument("--workers", help="processes that serve (1)")
    parser.add_argument(
        "--state-dir", metavar="DIR", help="folder of what survives a restart (var)"
    )
    parser.add_argument(
        "--models-dir", metavar="DIR", help="folder that training writes to (models)"
    )
    parser.add_argument(
        "--experiment-file", metavar="FILE", help="A/B test (experiment.toml where there is one)"
    )


SERVE = Command(
    name="python -m service serve",
    summary="serve the trained models until stopped",
    add_flags=_add_flags,
    run=_run,
    process="service",
    epilog="Each flag is also a variable, such as CTR_PORT; the README lists them all.",
    misuses=(InvalidFaultsError, InvalidSettingsError),
    failures=(
        CannotStartError,
        CountersUnavailableError,
        InvalidSigningKeyError,
        ReleaseBusyError,
        ReleaseRefusedError,
        StateError,
    ),
    serves=True,
)
RUN_API = replace(SERVE, name="python scripts/run_api.py")


def _serve(settings: Settings) -> None:
    # It asks for a release; while the service starts it must not end it, nor any worker.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    allow_open_files()
    with only_service(settings.state_dir), _listening(settings.host, settings.port) as listeners:
        release, metrics = begin(settings)
        address = _url(listeners[0])
        say(
            f"serving {release.experiment.shares()} at {address}\n"
            f"  look     {address}/\n"
            f"  try it   {address}/docs\n"
            f"  health   {address}/monitoring/health\n"
            f"  stats    {address}/monitoring/stats\n"
            f"  metrics  {address}/metrics\n"
            f"  history  {address}/monitoring/mlflow, or `make ui`\n"
            "Ctrl-C stops; SIGHUP, or a POST to /models/reload, serves what is on disk by then",
            to=sys.stdout,
        )
        # After Ctrl-C uvicorn has stopped in good order and raises the interrupt once more.
        with suppress(KeyboardInterrupt):
            with interrupt_waits():
                if settings.workers == 1:
                    # FastAPI and the rest of a worker: a launcher of several goes without.
                    from service.app import create_app  # noqa: PLC0415 - see above

                    with writable(settings.state_dir):
                        app = create_app(settings, metrics, release)
                    config = _config(app, settings)
                else:
                    del release  # The workers load their own.
                    give_memory_back()
                    config = _config("service.app:create_worker", settings)
            with bridge_beside() if settings.bridge_enabled else nullcontext():
                if settings.workers == 1:
                    uvicorn.Server(config).run(sockets=listeners)
                else:
                    # It tells of the death of a worker, as of what it does itself.
                    logging.getLogger("uvicorn.error").setLevel(_LOGGER.getEffectiveLevel())
                    Workers(config, sockets=listeners).run()


def _config(app: "ASGIApp | str", settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        factory=isinstance(app, str),
        interface="asgi3",  # It cannot tell of a callable that only gives a coroutine.
        workers=settings.workers,
        access_log=False,
        http=BoundedHttpProtocol,
        log_config=None,  # Its records go where ours do.
        timeout_worker_healthcheck=_WORKER_SILENCE_SECONDS,
        proxy_headers=False,
        timeout_graceful_shutdown=_LAST_ANSWERS_SECONDS,
    )


@contextmanager
def _listening(host: str, port: int) -> Iterator[list[socket.socket]]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise CannotStartError(
            f"cannot listen on {host} port {port}: {error.strerror}; "
            f"set {variable('host')} or {variable('port')}"
        ) from error
    with ExitStack() as opened:
        opened.enter_context(listener)
        listener.set_inheritable(True)
        again = (listener.dup() for _ in range(_ACCEPTED_AT_ONCE - 1))
        yield [listener, *map(opened.enter_context, again)]


def _url(listener: socket.socket) -> str:
    host, port, *_ = listener.getsockname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
