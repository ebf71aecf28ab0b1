"""Looks at what waits here: the bridge, the windows, the outbox."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bridge.doctor.findings import Finding, ok, problem, skipped, warning
from bridge.lease import lease_name
from bridge.tracking_uri import TrackingStore
from bridge.windows import slot_at
from service.monitoring.bridge_status import LATE_AFTER_SECONDS, SILENT_AFTER_SECONDS
from service.monitoring.history import History
from service.settings import Settings
from service.state.bridge_statuses import BridgeStatuses
from service.state.errors import StateError
from service.state.outbox import Outbox
from service.state.store import State, open_state

_SILENT_SECONDS = 120.0
_CHECKS = ("bridge", "windows", "outbox", "refused")
_SHOWN = 3


def examine_state(settings: Settings, store: TrackingStore | None, now: float) -> Sequence[Finding]:
    """Look at the state of one instance at ``now``, in Unix seconds."""
    place = settings.state_store
    if isinstance(place, Path) and not place.exists():
        found = f"{place} is not there: the service never ran with this state folder"
        return [
            warning("state", found, "start the service, or set CTR_STATE_DIR as it does"),
            *(skipped(check, "there is no state") for check in _CHECKS),
        ]
    try:
        with open_state(place) as state:
            outbox = state.outbox(settings.scope)
            return [
                ok("state", f"that of {settings.scope}"),
                _bridge(settings, state, store, now),
                _windows(settings, state.history(settings.scope), outbox, now),
                _outbox(outbox, now),
                _refused(outbox),
            ]
    except StateError as error:
        return [
            problem("state", str(error), "put the state store right; the service needs it too"),
            *(skipped(check, "the state cannot be read") for check in _CHECKS),
        ]


def _bridge(settings: Settings, state: State, store: TrackingStore | None, now: float) -> Finding:
    holder = state.leases.holder_of(lease_name(settings.scope), now)
    status = BridgeStatuses(state.values, settings.scope).load()
    if holder is None:
        todo = "start the service, or python -m bridge run; its instance is CTR_INSTANCE"
        if not settings.bridge_enabled:
            todo = "CTR_BRIDGE_ENABLED is off here: python -m bridge run"
        return problem("bridge", f"none is at work for {settings.scope}", todo)
    if status is None or now - status.at > SILENT_AFTER_SECONDS:
        found = f"{holder} holds the lease and has not said how it does"
        return warning("bridge", found, "ask again in 10 s; then read its log")
    if store is not None and status.store != store.name:
        return problem(
            "bridge",
            f"{holder} writes to {status.store}, but here {store.name} is meant",
            "give the service and this command the same MLFLOW_TRACKING_URI and folder",
        )
    if status.problem:
        todo = "see the checks above; it tries again by itself"
        return problem("bridge", f"{holder} cannot send: {status.problem}", todo)
    return ok("bridge", f"{holder} is at work")


def _windows(settings: Settings, history: History, outbox: Outbox, now: float) -> Finding:
    span, frozen = history.span(), outbox.frozen_until()
    if span is None:
        return warning(
            "windows",
            f"no snapshot of {settings.scope} is stored: nothing was counted",
            "start the service; or set CTR_INSTANCE as it does",
        )
    seconds, last = settings.bridge_window, span[1]
    if now - last > _SILENT_SECONDS:
        return warning(
            "windows",
            f"the last snapshot is of {_time(last)}: the service does not run",
            "start the service",
        )
    if last - (frozen or span[0]) > 2 * seconds + _SILENT_SECONDS:
        since = f"since {_time(frozen)}" if frozen else "yet"
        return warning("windows", f"none was written down {since}", "see the bridge above")
    end = slot_at(frozen or last, seconds).end
    done = f"written down until {_time(frozen)}" if frozen else "none is over yet"
    return ok("windows", f"{done}; the next is over at {_time(end)}")


def _outbox(outbox: Outbox, now: float) -> Finding:
    backlog = outbox.backlog()
    if backlog.oldest_frozen_at is None:
        return ok("outbox", "nothing waits")
    age = now - backlog.oldest_frozen_at
    found = f"{backlog.points} points wait, the oldest for {age:.0f} s"
    if age > LATE_AFTER_SECONDS:
        todo = "put right what is said above; they are sent then, nothing is lost"
        return problem("outbox", found, todo)
    return ok("outbox", found)


def _refused(outbox: Outbox) -> Finding:
    problems = outbox.problems()
    if not problems:
        return ok("refused", "MLflow has taken everything it was told")
    shown = "; ".join(f"{entry}: {why}" for entry, why in list(problems.items())[:_SHOWN])
    return warning(
        "refused",
        f"MLflow refuses a part of {len(problems)} entries for good: {shown}",
        "the rest of them was told; the names and values it refuses are in the messages",
    )


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
