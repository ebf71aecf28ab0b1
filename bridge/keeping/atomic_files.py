"""Files and folders that are there whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bridge.keeping.stored_runs import HistoryError


@contextmanager
def whole_file(output: Path) -> Iterator[Path]:
    """Give a temporary name; what is there in the end replaces ``output`` at once.

    Raises:
        HistoryError: There is no such folder.
    """
    if not output.parent.is_dir():
        raise HistoryError(f"the folder {output.parent} does not exist")
    part = _part_of(output)
    try:
        yield part
        _flush(part)
        part.replace(output)
        _flush(output.parent)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def whole_folder(output: Path) -> Iterator[Path]:
    """Give a temporary folder, for the owner only; in the end it becomes ``output``."""
    part = _part_of(output)
    part.mkdir(mode=0o700)
    try:
        yield part
        for path in part.rglob("*"):
            _flush(path)
        part.rename(output)
        _flush(output.parent)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _part_of(output: Path) -> Path:
    return output.with_name(f".{output.name}.{os.getpid()}.part")


def _flush(path: Path) -> None:
    """Have the disk keep it before anything relies on it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
