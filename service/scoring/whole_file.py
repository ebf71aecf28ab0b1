"""Files that are there whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.prediction.durable import make_durable


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a path to write to; what is there takes the place of ``path`` when all went well.

    Until then a file of that name stays as it was.

    Raises:
        OSError: The folder cannot be written.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(descriptor)
    unfinished = Path(name)
    try:
        yield unfinished
        unfinished.chmod(_usual_mode())
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.replace(path)
        make_durable(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)


def _usual_mode() -> int:
    """Of a file that is simply opened, and not of one that nobody else may read."""
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
