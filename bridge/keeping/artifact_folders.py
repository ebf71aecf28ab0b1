"""The artifacts beside MLflow's database, where they are in folders of this host."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sqlalchemy import NullPool, create_engine, inspect, text

FOLDER = "artifacts"
# Where MLflow's tables say where artifacts are.
_LOCATIONS = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactFolder:
    """A place of artifacts and where it is in a backup."""

    location: str
    """As MLflow's database has it."""
    folder: str
    """Relative to the backup."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relocation:
    """A place of artifacts that is another one after a restore."""

    old: str
    new: str


def local_folders(locations: Iterable[str], own: str | None) -> Sequence[ArtifactFolder]:
    """Say where in a backup each place of this host goes; one within another goes along with it.

    Args:
        locations: As MLflow's database has them.
        own: That of the bridge's experiment; it is the first in the backup.
    """
    first = None if own is None else _path_of(own)
    paths = {location: path for location in locations if (path := _path_of(location)) is not None}
    roots: dict[Path, str] = {}
    found = []
    for location, path in sorted(
        paths.items(), key=lambda item: (item[1] != first, item[1], item[0])
    ):
        root = next((root for root in roots if path.is_relative_to(root)), None)
        if root is None:
            root = path
            roots[path] = f"{FOLDER}/{len(roots) + 1}"
        folder = Path(roots[root]) / path.relative_to(root)
        found.append(ArtifactFolder(location=location, folder=folder.as_posix()))
    return found


def roots_of(folders: Iterable[ArtifactFolder]) -> Mapping[str, str]:
    """Where the folders are that hold all others, by folder in the backup."""
    return {place.folder: place.location for place in folders if place.folder.count("/") == 1}


def copy_in(folders: Iterable[ArtifactFolder], backup: Path) -> None:
    """Copy artifacts into a backup."""
    for folder, location in roots_of(folders).items():
        path = _path_of(location)
        if path is not None and path.is_dir():
            shutil.copytree(path, backup / folder)


def relocations(folders: Iterable[ArtifactFolder], target: Path) -> Sequence[Relocation]:
    """Say where each place is after a restore into ``target``."""
    return [
        Relocation(old=place.location, new=restored(place.folder, target).as_uri())
        for place in folders
    ]


def restored(folder: str, target: Path) -> Path:
    """Where a folder of a backup comes to lie: the first root is the target itself."""
    _, number, *rest = folder.split("/")
    root = target if number == "1" else target.with_name(f"{target.name}-{number}")
    return root.joinpath(*rest)


def relocate(uri: str, moved: Sequence[Relocation]) -> None:
    """Rewrite a restored database so that it finds its artifacts."""
    # One pass with the longest first: what is rewritten is not looked at again.
    ordered = sorted(moved, key=lambda move: -len(move.old))
    if not ordered:
        return
    values = {
        **{f"old{number}": move.old for number, move in enumerate(ordered)},
        **{f"new{number}": move.new for number, move in enumerate(ordered)},
        **{f"length{number}": len(move.old) for number, move in enumerate(ordered)},
    }
    engine = create_engine(uri, poolclass=NullPool)
    tables = set(inspect(engine).get_table_names())
    with engine.begin() as connection:
        for table in _LOCATIONS.keys() & tables:
            for column in _LOCATIONS[table]:
                cases = " ".join(
                    f"WHEN {column} = :old{number} OR "
                    f"substr({column}, 1, :length{number} + 1) = :old{number} || '/' "
                    f"THEN :new{number} || substr({column}, :length{number} + 1)"
                    for number in range(len(ordered))
                )
                statement = f"UPDATE {table} SET {column} = CASE {cases} ELSE {column} END"  # noqa: S608
                connection.execute(text(statement), values)


def _path_of(location: str) -> Path | None:
    parts = urlsplit(location)
    if parts.scheme not in {"", "file"} or parts.netloc not in {"", "localhost"}:
        return None
    return Path(unquote(parts.path) if parts.scheme else location).absolute()
