"""Files that tell when a byte of them has changed."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from bridge.keeping.stored_runs import DamagedHistoryError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_BLOCK_BYTES = 1024 * 1024

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSeal:
    """What a file was when it was written."""

    path: str
    """Relative to the folder that it was sealed in."""
    bytes: int
    sha256: str


def seal(folder: Path, files: Iterable[Path]) -> Sequence[FileSeal]:
    """Seal files of a folder."""
    return tuple(
        FileSeal(
            path=file.relative_to(folder).as_posix(),
            bytes=file.stat().st_size,
            sha256=_sha256_of(file),
        )
        for file in sorted(files)
    )


def check_seals(folder: Path, seals: Iterable[FileSeal]) -> None:
    """Check that sealed files are what they were.

    Raises:
        DamagedHistoryError: One is missing or changed.
    """
    for sealed in seals:
        file = folder / sealed.path
        if not file.resolve().is_relative_to(folder.resolve()):
            raise DamagedHistoryError(f"{folder} names a file outside it: {sealed.path}")
        if not file.is_file():
            raise DamagedHistoryError(f"{file} is missing")
        if file.stat().st_size != sealed.bytes or _sha256_of(file) != sealed.sha256:
            raise DamagedHistoryError(f"{file} is damaged: its checksum is not the one noted")


def write_sealed(file: Path, content: "DataclassInstance") -> None:
    """Write a dataclass as JSON beside its own checksum."""
    fields = asdict(content)
    sealed = {"sha256": _sha256_of_json(fields), "content": fields}
    file.write_text(json.dumps(sealed, indent=1, allow_nan=False) + "\n")


def read_sealed(file: Path, kind: type[_T]) -> _T:
    """Read what :func:`write_sealed` wrote.

    Raises:
        DamagedHistoryError: A byte has changed, or it is something else.
    """
    try:
        sealed: Any = json.loads(file.read_bytes())
        content = sealed["content"]
        if sealed["sha256"] != _sha256_of_json(content):
            raise DamagedHistoryError(f"{file} is damaged: its checksum is not the one noted")
        return TypeAdapter(kind).validate_python(content)
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise DamagedHistoryError(f"{file} cannot be read: {error}") from error


def _sha256_of(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while block := content.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _sha256_of_json(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
