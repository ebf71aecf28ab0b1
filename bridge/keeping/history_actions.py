"""What the subcommands about the history as a whole do, and what they say."""

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import make_url

from bridge.keeping.archiving import Archived, archive
from bridge.keeping.backup import BackedUp, back_up
from bridge.keeping.exporting import Exported, export
from bridge.keeping.mlflow_history import MlflowHistory
from bridge.keeping.restoring import Restored, is_backup, restore
from bridge.keeping.stored_runs import HistoryError
from bridge.keeping.unarchiving import Unarchived, unarchive
from bridge.tracking_uri import TrackingStore, store_of, tracking_store
from bridge.windows import SECONDS_PER_DAY
from service.command_line import ExitStatus
from service.settings import Settings

Result = Exported | BackedUp | Restored | Archived | Unarchived


def run_history_command(name: str, flags: argparse.Namespace, settings: Settings) -> int:
    """Run the command of this name; returns the exit status.

    Raises:
        HistoryError: It cannot be done.
        OSError: A file cannot be read or written.
    """
    result: Result = _ACTIONS[name](flags, settings)
    print(json.dumps(asdict(result)) if flags.json else "\n".join(_told(result)))
    return ExitStatus.DONE


def _export(flags: argparse.Namespace, settings: Settings) -> Exported:
    return export(
        _history(store_of(settings, Path.cwd()), settings),
        since=time.time() - flags.days * SECONDS_PER_DAY,
        output=flags.output,
        file_format=flags.format,
        model=flags.model,
    )


def _backup(flags: argparse.Namespace, settings: Settings) -> BackedUp:
    return back_up(store_of(settings, Path.cwd()), _state_file(settings), flags.output, flags.keep)


def _restore(flags: argparse.Namespace, _: Settings) -> Restored | Unarchived:
    target = tracking_store(flags.to, Path.cwd())
    if is_backup(flags.source):
        if target.uri.startswith(("http:", "https:")):
            raise HistoryError("a backup is restored into a database, not into a server")
        return restore(flags.source, target, flags.state)
    if flags.state is not None:
        raise HistoryError(f"{flags.source} is no backup; only backups hold the service's state")
    return unarchive(flags.source, target)


def _archive(flags: argparse.Namespace, settings: Settings) -> Archived:
    store = store_of(settings, Path.cwd())
    if store.doubles_points:
        raise HistoryError(f"a file store is not archived. {store.warning}")
    return archive(
        _history(store, settings),
        before=datetime.now(UTC).date() - timedelta(days=flags.older_than),
        output=flags.output,
        experiment=settings.mlflow_experiment_name,
        apply=flags.apply,
    )


def _history(store: TrackingStore, settings: Settings) -> MlflowHistory:
    if store.database is not None and not store.database.exists():
        raise HistoryError(f"{store.database} does not exist; nothing was written there yet")
    return MlflowHistory(store, settings.mlflow_experiment_name)


def _state_file(settings: Settings) -> Path | None:
    """Give the service's own state where it is a SQLite file that exists."""
    place = settings.state_store
    if isinstance(place, str):
        url = make_url(place)
        if url.get_backend_name() != "sqlite" or not url.database:
            return None
        place = Path(url.database)
    return place if place.exists() else None


def _told(result: Result) -> Sequence[str]:
    match result:
        case Exported():
            written = f"{result.rows} windows of {result.runs} runs, {result.metrics} metrics"
            return [f"{result.output}: {written}, until {result.last_window_end}"]
        case BackedUp():
            state = "with" if result.with_state else "without"
            held = f"{result.counts.runs} runs, {result.counts.metrics} points"
            return [
                f"{result.folder}: {held}, {result.bytes} bytes, {state} the state; verified",
                *(f"not in it: artifacts at {place}" for place in result.artifacts_not_copied),
                *(f"removed: {place}" for place in result.removed),
            ]
        case Restored():
            return [
                f"{result.store}: {result.counts.runs} runs, {result.counts.metrics} points",
                *(f"artifacts: {place}" for place in result.artifacts),
                *([f"state: {result.state}"] if result.state else []),
            ]
        case Archived():
            days = f" of {result.first_day} to {result.last_day}" if result.runs else ""
            done = "archived and deleted from MLflow" if result.applied else "would be archived"
            return [
                f"{result.runs} runs{days}, {result.points} points: {done}",
                *(f"left alone: {run}" for run in result.left_alone),
                *([] if result.applied else ["nothing was done; --apply does it"]),
            ]
        case Unarchived():
            same = f"{result.there_already} runs were there already, bit for bit the same"
            return [f"{result.store}: {result.runs} runs, {result.points} points restored; {same}"]


_ACTIONS: Mapping[str, Callable[[argparse.Namespace, Settings], Result]] = {
    "export": _export,
    "backup": _backup,
    "restore": _restore,
    "archive": _archive,
}
