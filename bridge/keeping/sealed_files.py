"""Files that tell when a byte of them has changed."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from bridge.keeping.stored_runs import DamagedHistoryError
from service import __version__
from service.progress import progress_of

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
    sizes = {file: file.stat().st_size for file in sorted(files)}
    with progress_of("sealing", "B", total=sum(sizes.values())) as bar:
        return tuple(
            FileSeal(
                path=file.relative_to(folder).as_posix(),
                bytes=size,
                sha256=_sha256_of(file, bar.update),
            )
            for file, size in sizes.items()
        )


def check_seals(folder: Path, seals: Sequence[FileSeal]) -> None:
    """Check that sealed files are what they were.

    Raises:
        DamagedHistoryError: One is missing or changed.
    """
    with progress_of("verifying", "B", total=sum(sealed.bytes for sealed in seals)) as bar:
        for sealed in seals:
            file = folder / sealed.path
            if not file.resolve().is_relative_to(folder.resolve()):
                raise DamagedHistoryError(f"{folder} names a file outside it: {sealed.path}")
            if not file.is_file():
                raise DamagedHistoryError(f"{file} is missing")
            same_size = file.stat().st_size == sealed.bytes
            if not same_size or _sha256_of(file, bar.update) != sealed.sha256:
                raise DamagedHistoryError(f"{file} is damaged: its checksum is not the one noted")


def write_sealed(file: Path, content: "DataclassInstance") -> None:
    """Write a dataclass as JSON beside its own checksum."""
    fields = asdict(content)
    sealed = {"sha256": _sha256_of_json(fields), "content": fields}
    file.write_text(json.dumps(sealed, indent=1, allow_nan=False) + "\n")


def read_sealed(file: Path, kind: type[_T]) -> _T:
    """Read what :func:`write_sealed` wrote; the literal type of ``format`` says what is read.

    Raises:
        DamagedHistoryError: A byte has changed, or it is something else or of another release.
    """
    try:
        sealed: Any = json.loads(file.read_bytes())
        content = sealed["content"]
        if sealed["sha256"] != _sha256_of_json(content):
            raise DamagedHistoryError(f"{file} is damaged: its checksum is not the one noted")
        [known] = get_args(get_type_hints(kind)["format"])
        if content["format"] != known:
            raise DamagedHistoryError(
                f"{file} is of the format {content['format']!r}, and this release, {__version__}, "
                f"reads {known!r}: use the release that wrote it"
            )
        return TypeAdapter(kind).validate_python(content)
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise DamagedHistoryError(f"{file} cannot be read: {error}") from error


def _sha256_of(file: Path, moved: Callable[[int], object]) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while block := content.read(_BLOCK_BYTES):
            digest.update(block)
            moved(len(block))
    return digest.hexdigest()


def _sha256_of_json(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
