"""A new life of the service: what the last one counted is stored, a release and an epoch begin."""

import fcntl
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from service.formats import written_later
from service.monitoring.snapshot import Snapshot
from service.prediction.faults import InvalidFaultsError, parse_faults
from service.prediction.release import Release
from service.prediction.release_store import ReleaseStore
from service.prediction.signing_keys import signing_keys
from service.settings import Settings, variable
from service.state.store import open_state, refuse_newer_state
from service.telemetry.folder import METRICS_FORMAT, MetricsFolder
from service.telemetry.registry import registry_of

_EPOCH_STEP_SECONDS = 0.001
_LOOK_AGAIN_SECONDS = 0.1
_OLD_WORKERS_SECONDS = 15.0
"""How long to wait for workers whose launcher was killed; they end themselves."""


class CannotStartError(Exception):
    """Something that the service needs is missing; the message says what to do."""


def begin(settings: Settings) -> tuple[Release, MetricsFolder]:
    """Begin a release and an epoch of counters.

    Raises:
        CannotStartError: Something that is needed is missing, or of a later release.
        InvalidFaultsError: ``CTR_FAULTS`` names a model that is not served.
        InvalidSigningKeyError: A key cannot be used.
        ReleaseBusyError: Another process is making a release.
        ReleaseRefusedError: The models or the experiment cannot be served.
        CountersUnavailableError: What the last life counted cannot be read now.
        StateError: The state store cannot be used.
    """
    with writable(settings.state_dir):
        _refuse_newer(settings)
        signing_keys(*settings.signing_keys)
        # They may still hold a release that they were making, and count.
        _wait_for_old_workers(MetricsFolder.all(settings.metrics_dir))
        return _begin_release(settings), _begin_epoch(settings)


@contextmanager
def only_service(state_dir: Path) -> Iterator[None]:
    """Keep a second service from counting into the same state.

    Raises:
        CannotStartError: There is one, or the folder cannot be used.
    """
    with writable(state_dir):
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
def writable(state_dir: Path) -> Iterator[None]:
    """Say what to do where the folder cannot be written.

    Raises:
        CannotStartError: Something in the block could not.
    """
    try:
        yield
    except OSError as error:
        raise CannotStartError(
            f"the state folder {state_dir} cannot be used: {error.strerror}; "
            f"mend it or set {variable('state_dir')}"
        ) from error


def _refuse_newer(settings: Settings) -> None:
    """Refuse what a later release has left, before anything is changed."""
    for folder in MetricsFolder.all(settings.metrics_dir):
        if folder.format > METRICS_FORMAT:
            raise CannotStartError(
                written_later(
                    str(folder.path),
                    form="format",
                    found=folder.format,
                    known=METRICS_FORMAT,
                    instead="move it away: what was counted since its last snapshot is then lost",
                )
            )
    ReleaseStore(settings.releases_dir).pointer()
    refuse_newer_state(settings.state_store)


def _begin_release(settings: Settings) -> Release:
    release = ReleaseStore(settings.releases_dir).begin(
        settings.models_dir, settings.experiment_file
    )
    for model in parse_faults(settings.faults):
        if model not in release.bundles:
            raise InvalidFaultsError(f"{variable('faults')}: there is no model {model!r}")
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


def _wait_for_old_workers(ended: Sequence[MetricsFolder]) -> None:
    """Wait until nobody counts into an ended epoch any more: what comes after is not stored."""
    deadline = time.monotonic() + _OLD_WORKERS_SECONDS
    while any(folder.living_workers() for folder in ended):
        if time.monotonic() > deadline:
            raise CannotStartError("workers of the last start are still running; stop them")
        time.sleep(_LOOK_AGAIN_SECONDS)
