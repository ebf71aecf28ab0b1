"""Starts the service: checks what it needs, begins a new epoch of counters, runs the workers."""

import argparse
import fcntl
import logging
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.supervisors import Multiprocess

from service.bridge_process import bridge_beside
from service.monitoring.snapshot import Snapshot
from service.prediction.faults import InvalidFaultsError, parse_faults
from service.prediction.prediction_id import InvalidSigningKeyError, signing_key
from service.prediction.release import Release, ReleaseRefusedError
from service.prediction.release_store import ReleaseBusyError, ReleaseStore
from service.settings import InvalidSettingsError, Settings, variable
from service.state.errors import StateError
from service.state.store import open_state
from service.telemetry.folder import MetricsFolder
from service.telemetry.registry import registry_of
from service.worker_process import Terminal, give_memory_back

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_LOGGER = logging.getLogger(__name__)

_EPOCH_STEP_SECONDS = 0.001
_LOOK_AGAIN_SECONDS = 0.1
_WORKER_SILENCE_SECONDS = 30
"""A worker is silent while it imports; on a busy machine the default of 5 s kills it for ever."""
_OLD_WORKERS_SECONDS = 15.0
"""How long to wait for workers whose launcher was killed; they end themselves."""
_LAST_ANSWERS_SECONDS = 10
"""When told to stop: how long requests that are being answered may take."""
_FLAGS = ("host", "port", "workers", "state_dir", "models_dir", "experiment_file")


class CannotStartError(Exception):
    """Something that the service needs is missing; the message says what to do."""


_CANNOT_START = (
    CannotStartError,
    InvalidFaultsError,
    InvalidSettingsError,
    InvalidSigningKeyError,
    ReleaseBusyError,
    ReleaseRefusedError,
    StateError,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until stopped; returns the exit status."""
    flags = _parser().parse_args(arguments)
    given = {variable(flag): getattr(flags, flag) for flag in _FLAGS if getattr(flags, flag)}
    # Workers are processes of their own and read the same variables.
    os.environ.update(given)
    try:
        settings = Settings.from_environment(os.environ)
        _serve(settings)
    except _CANNOT_START as error:
        print(f"cannot start: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Serve the trained models.",
        epilog="Each flag is also a variable, such as CTR_PORT; the README lists them all.",
    )
    parser.add_argument("--host", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", help="port to listen on (8000)")
    parser.add_argument("--workers", help="processes that serve (1)")
    parser.add_argument("--state-dir", help="folder of what survives a restart (var)")
    parser.add_argument("--models-dir", help="folder that training writes to (models)")
    parser.add_argument("--experiment-file", help="A/B test (experiment.toml where there is one)")
    return parser


def _serve(settings: Settings) -> None:
    # It asks for a release; while the service starts it must not end it, nor any worker.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with _only_service(settings.state_dir), _listening(settings.host, settings.port) as listener:
        with _writable(settings.state_dir):
            signing_key(settings.signing_key, settings.state_dir / "signing.key")
            # They may still hold a release that they were making, and count.
            _wait_for_old_workers(MetricsFolder.all(settings.metrics_dir))
            release = _begin_release(settings)
            metrics = _begin_epoch(settings)
        address = _url(listener)
        print(
            f"serving {release.experiment.shares()} at {address}\n"
            f"  look     {address}/\n"
            f"  try it   {address}/docs\n"
            f"  health   {address}/monitoring/health\n"
            f"  stats    {address}/monitoring/stats\n"
            f"  metrics  {address}/metrics\n"
            f"  history  {address}/monitoring/mlflow, or `make ui`\n"
            "Ctrl-C stops; SIGHUP, or a POST to /models/reload, serves what is on disk by then",
            flush=True,
        )
        if settings.workers == 1:
            # FastAPI and the rest of a worker: a launcher of several goes without.
            from service.app import create_app  # noqa: PLC0415 - see above

            config = _config(create_app(settings, metrics, release), settings)
        else:
            del release  # The workers load their own.
            give_memory_back()
            config = _config("service.app:create_worker", settings)
        # After Ctrl-C uvicorn has stopped in good order and raises the interrupt once more.
        with (
            bridge_beside() if settings.bridge_enabled else nullcontext(),
            suppress(KeyboardInterrupt),
        ):
            if settings.workers == 1:
                uvicorn.Server(config).run(sockets=[listener])
            else:
                _Workers(config, sockets=[listener]).run()


class _Workers(Multiprocess):
    """Uvicorn's supervisor, which hears of a worker's death at once.

    It awaits the answer to a ping on a pipe of which it holds the worker's end open too. So a
    worker that dies after being asked is waited for until the time-out, and signals with it.
    """

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        super().__init__(config, sockets)
        self._terminal = Terminal()

    def init_processes(self) -> None:
        super().init_processes()
        self._leave_worker_ends()

    def keep_subprocess_alive(self) -> None:
        super().keep_subprocess_alive()
        self._leave_worker_ends()

    def handle_hup(self) -> None:
        """Have one worker make a release, which all then serve; none is restarted."""
        if self._terminal.has_gone():
            self.handle_term()
            return
        for process in self.processes:
            # One that is starting does not hear it yet.
            if process.pid is not None and process.is_ready(timeout=1):
                os.kill(process.pid, signal.SIGHUP)
                return
        _LOGGER.error("no release: no worker is ready; try again")

    def _leave_worker_ends(self) -> None:
        for process in self.processes:
            process.child_conn.close()


def _config(app: "ASGIApp | str", settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        factory=isinstance(app, str),
        workers=settings.workers,
        access_log=False,
        log_level="warning",
        timeout_worker_healthcheck=_WORKER_SILENCE_SECONDS,
        proxy_headers=False,
        timeout_graceful_shutdown=_LAST_ANSWERS_SECONDS,
    )


def _begin_release(settings: Settings) -> Release:
    release = ReleaseStore(settings.releases_dir).begin(
        settings.models_dir, settings.experiment_file
    )
    for model in parse_faults(settings.faults):
        if model not in release.bundles:
            raise CannotStartError(f"{variable('faults')}: there is no model {model!r}")
    return release


def _begin_epoch(settings: Settings) -> MetricsFolder:
    """Store what the last life counted, then begin at zero.

    The history has the old totals before their files go: a crash in between stores them again,
    which changes nothing.
    """
    ended = MetricsFolder.all(settings.metrics_dir)
    with open_state(settings.state_store) as state:
        history = state.history(settings.scope)
        now = time.time()
        # A history without any life is that of a new name or a new store: what was counted before
        # belongs to another, which has the clicks on it.
        for folder in ended if history.last_epoch() is not None else ():
            # Dated by what it holds: the time since then belongs to no epoch.
            last_written = max(min(folder.read().last_written, now), folder.began)
            history.append_final(registry_of(folder).snapshot(last_written))
        # The clock may have been set back; epochs are told apart and ordered by their beginning.
        later_than_last = (history.last_epoch() or 0.0) + _EPOCH_STEP_SECONDS
        metrics = MetricsFolder.begin(settings.metrics_dir, max(now, later_than_last))
        # Windows that reach back before the first tick begin here, at zero.
        zero = Snapshot(at=metrics.began, epoch=metrics.began, counters={}, gauges={})
        history.append(metrics.began, zero)
        # Hosts whose name never comes back, as those of pods, thin their history no more.
        state.forget_silent_scopes(now - 2 * settings.history)
    for folder in ended:
        shutil.rmtree(folder.path)
    return metrics


@contextmanager
def _only_service(state_dir: Path) -> Iterator[None]:
    """Keep a second service from counting into the same state."""
    with _writable(state_dir):
        state_dir.mkdir(parents=True, exist_ok=True)
        lock_file = (state_dir / "service.lock").open("w")
    with lock_file as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CannotStartError(
                f"another service is using the state folder {state_dir}; "
                f"stop it or set {variable('state_dir')}"
            ) from error
        yield


@contextmanager
def _writable(state_dir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CannotStartError(
            f"the state folder {state_dir} cannot be used: {error.strerror}; "
            f"mend it or set {variable('state_dir')}"
        ) from error


def _wait_for_old_workers(ended: Sequence[MetricsFolder]) -> None:
    """Wait until nobody counts into an ended epoch any more: what comes after is not stored."""
    deadline = time.monotonic() + _OLD_WORKERS_SECONDS
    while any(folder.living_workers() for folder in ended):
        if time.monotonic() > deadline:
            raise CannotStartError("workers of the last start are still running; stop them")
        time.sleep(_LOOK_AGAIN_SECONDS)


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise CannotStartError(
            f"cannot listen on {host} port {port}: {error.strerror}; "
            f"set {variable('host')} or {variable('port')}"
        ) from error
    with listener:
        listener.set_inheritable(True)
        yield listener


def _url(listener: socket.socket) -> str:
    host, port, *_ = listener.getsockname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
