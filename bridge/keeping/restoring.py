"""From a backup back to a tracking store, into an empty place only."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bridge.keeping.artifact_folders import relocate, relocations, restored, roots_of
from bridge.keeping.atomic_files import whole_file
from bridge.keeping.backup import DUMP_FILE, MANIFEST, SQLITE_FILE, STATE_FILE, Manifest, verify
from bridge.keeping.database_copies import Counts, sqlite_counts
from bridge.keeping.postgres_copies import postgres_counts, refuse_used_postgres, restore_postgres
from bridge.keeping.stored_runs import HistoryError
from bridge.tracking_uri import TrackingStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What was done."""

    store: str
    counts: Counts
    artifacts: Sequence[str]
    """Folders."""
    state: str
    """File of the service's state; empty where it was not restored."""


def is_backup(folder: Path) -> bool:
    """Tell a backup from an archive."""
    return (folder / MANIFEST).is_file()


def restore(backup: Path, target: TrackingStore, state_file: Path | None) -> Restored:
    """Restore a backup after verifying it.

    Args:
        backup: Folder of one backup.
        target: Where the history goes.
        state_file: Where the service's state goes; None to leave it.

    Raises:
        DamagedHistoryError: The backup is not what was written; nothing was done.
        HistoryError: The place is in use; nothing was done.
    """
    manifest = verify(backup)
    artifacts = _artifact_targets(manifest, backup, target)
    _refuse_unfit(manifest, target, state_file, artifacts)
    moved = relocations(manifest.artifacts, _artifact_root(target))
    made: list[Path] = []
    try:
        for folder, place in artifacts.items():
            made.append(place)
            shutil.copytree(backup / folder, place, dirs_exist_ok=True)
        if target.database is not None:
            target.database.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(target.database) as part:
                shutil.copyfile(backup / SQLITE_FILE, part)
                relocate(f"sqlite:///{part}", moved)
                counts = sqlite_counts(part)
                _check(counts, manifest)
        else:
            restore_postgres(backup / DUMP_FILE, target.uri)
            relocate(target.uri, moved)
            counts = postgres_counts(target.uri)
            _check(counts, manifest)
    except BaseException:
        for place in made:
            shutil.rmtree(place, ignore_errors=True)
        raise
    if state_file is not None:
        with whole_file(state_file) as part:
            shutil.copyfile(backup / STATE_FILE, part)
    return Restored(
        store=target.name,
        counts=counts,
        artifacts=[str(place) for place in artifacts.values()],
        state="" if state_file is None else str(state_file),
    )


def _refuse_unfit(
    manifest: Manifest,
    target: TrackingStore,
    state_file: Path | None,
    artifacts: Mapping[str, Path],
) -> None:
    kind = "sqlite" if target.database is not None else target.uri.partition("+")[0]
    if kind != manifest.kind or target.doubles_points:
        raise HistoryError(
            f"a backup of {manifest.kind} is restored into {manifest.kind}; to move the history "
            "to another kind of store, archive it there and restore the archive here"
        )
    used = [place for place in artifacts.values() if place.exists() and any(place.iterdir())]
    if target.database is not None and target.database.exists():
        used.append(target.database)
    if state_file is not None:
        if not manifest.has_state:
            raise HistoryError("there is no state of the service in this backup")
        if state_file.exists():
            used.append(state_file)
    if used:
        raise HistoryError(f"{used[0]} is there already, and nothing is overwritten; name another")
    if target.database is None:
        refuse_used_postgres(target.uri)


def _artifact_targets(
    manifest: Manifest, backup: Path, target: TrackingStore
) -> Mapping[str, Path]:
    root = _artifact_root(target)
    return {
        folder: restored(folder, root)
        for folder in roots_of(manifest.artifacts)
        if (backup / folder).is_dir()
    }


def _artifact_root(target: TrackingStore) -> Path:
    return Path(unquote(urlsplit(target.artifact_location or "").path))


def _check(counts: Counts, manifest: Manifest) -> None:
    if counts != manifest.counts:
        raise HistoryError(f"restored {counts}, but the backup holds {manifest.counts}")
