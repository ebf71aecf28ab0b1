"""Backups: a copy of the history that was opened and counted before it counts as one."""

import fcntl
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from bridge.keeping.artifact_folders import ArtifactFolder, copy_in, local_folders
from bridge.keeping.atomic_files import whole_folder
from bridge.keeping.database_copies import (
    Counts,
    artifact_locations,
    check_sqlite,
    copy_sqlite,
    sqlite_counts,
)
from bridge.keeping.postgres_copies import dump_counts, dump_postgres, locations_in_postgres
from bridge.keeping.sealed_files import FileSeal, check_seals, read_sealed, seal, write_sealed
from bridge.keeping.stored_runs import DamagedHistoryError, HistoryError
from bridge.tracking_uri import TrackingStore
from service import __version__

MANIFEST = "manifest.json"
SQLITE_FILE, DUMP_FILE, STATE_FILE = "mlflow.db", "mlflow.dump", "state.db"
_NAME = re.compile(r"history-\d{8}T\d{6}Z")
_SQLITE, _POSTGRES = "sqlite:", "postgresql"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a backup holds."""

    format: Literal["ctr-history-backup 1"]
    made_at: str
    kind: Literal["sqlite", "postgresql"]
    store: str
    """Where it was, without a password."""
    service_version: str
    mlflow_version: str
    counts: Counts
    has_state: bool
    """Whether the service's own state is in it."""
    artifacts: tuple[ArtifactFolder, ...]
    elsewhere: tuple[str, ...]
    """Places of artifacts that are not folders of this host, and are not in it."""
    files: tuple[FileSeal, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BackedUp:
    """What was done."""

    folder: str
    counts: Counts
    bytes: int
    with_state: bool
    artifacts_not_copied: Sequence[str]
    removed: Sequence[str]


def back_up(store: TrackingStore, state_file: Path | None, folder: Path, keep: int) -> BackedUp:
    """Copy, verify the copy, then drop all but the newest ``keep`` backups; 0 keeps all.

    Raises:
        HistoryError: No copy was made, or it is not what it should be and was removed.
        OSError: The disk does not take it.
    """
    _refuse_what_cannot_be_copied(store)
    folder.mkdir(parents=True, exist_ok=True)
    made_at = datetime.now(UTC)
    target = folder / f"history-{made_at:%Y%m%dT%H%M%SZ}"
    with _alone_in(folder):
        if target.exists():
            raise HistoryError(f"{target} exists; a second backup in one second is none")
        with whole_folder(target) as part:
            # The state first: what it has not sent and the history has is sent again and kept
            # once; the other way round, what was sent in between would be lost.
            if state_file is not None:
                copy_sqlite(state_file, part / STATE_FILE)
                check_sqlite(part / STATE_FILE)
            manifest = _copy(store, part, made_at, has_state=state_file is not None)
            write_sealed(part / MANIFEST, manifest)
            verify(part)
        removed = _drop_old(folder, keep) if keep else ()
    return BackedUp(
        folder=str(target),
        counts=manifest.counts,
        bytes=sum(file.bytes for file in manifest.files),
        with_state=manifest.has_state,
        artifacts_not_copied=manifest.elsewhere,
        removed=removed,
    )


def verify(backup: Path) -> Manifest:
    """Check a backup's checksums, then open the copy and count.

    Raises:
        DamagedHistoryError: It is not what was written.
    """
    manifest = read_sealed(backup / MANIFEST, Manifest)
    check_seals(backup, manifest.files)
    if manifest.kind == "sqlite":
        check_sqlite(backup / SQLITE_FILE)
        counts = sqlite_counts(backup / SQLITE_FILE)
    else:
        counts = dump_counts(backup / DUMP_FILE)
    if counts != manifest.counts:
        raise DamagedHistoryError(f"{backup} holds {counts}, but {manifest.counts} is noted")
    return manifest


def _copy(store: TrackingStore, part: Path, made_at: datetime, *, has_state: bool) -> Manifest:
    if store.database is not None:
        before = sqlite_counts(store.database)
        copy_sqlite(store.database, part / SQLITE_FILE)
        counts, after = sqlite_counts(part / SQLITE_FILE), sqlite_counts(store.database)
        if not counts.lies_between(before, after):
            raise HistoryError(
                f"the copy holds {counts}; before it there were {before}, after it {after}; "
                "was something deleted meanwhile? Try again"
            )
        locations = artifact_locations(part / SQLITE_FILE)
    else:
        counts = dump_postgres(store.uri, part / DUMP_FILE)
        locations = locations_in_postgres(store.uri)
    folders = local_folders(locations, store.artifact_location)
    copy_in(folders, part)
    local = {place.location for place in folders}
    return Manifest(
        format="ctr-history-backup 1",
        made_at=made_at.isoformat(),
        kind="postgresql" if store.database is None else "sqlite",
        store=store.name,
        service_version=__version__,
        mlflow_version=version("mlflow"),
        counts=counts,
        has_state=has_state,
        artifacts=tuple(folders),
        elsewhere=tuple(location for location in locations if location not in local),
        files=tuple(seal(part, (path for path in part.rglob("*") if path.is_file()))),
    )


def _refuse_what_cannot_be_copied(store: TrackingStore) -> None:
    if store.doubles_points:
        raise HistoryError(f"a file store is not backed up here. {store.warning}")
    if not store.uri.startswith((_SQLITE, _POSTGRES)):
        raise HistoryError(
            f"{store.name} is a server: what must be backed up is its own store. Run this where "
            "that is, with MLFLOW_TRACKING_URI set to the server's --backend-store-uri"
        )
    if store.database is not None and not store.database.exists():
        raise HistoryError(f"{store.database} does not exist; nothing was written there yet")


def _drop_old(folder: Path, keep: int) -> Sequence[str]:
    """Remove our own backups only, and none that is not whole."""
    backups = sorted(
        path
        for path in folder.iterdir()
        if _NAME.fullmatch(path.name) and (path / MANIFEST).is_file()
    )
    old = backups[:-keep]
    for path in old:
        shutil.rmtree(path)
    return [str(path) for path in old]


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise HistoryError(f"another backup into {folder} is at work") from error
        for left in folder.glob(".history-*.part"):  # By one that was killed.
            shutil.rmtree(left)
        yield
