"""Where everything is to be found, and the folder that it lives in."""

import fcntl
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from demo.programs import StageError

ROOT = Path(__file__).parents[1]
_MARK = "made-by-the-demo"


@dataclass(frozen=True, slots=True)
class Places:
    """Addresses that people open."""

    service: str
    mlflow: str
    prometheus: str | None
    """None where Prometheus is not installed."""


def address(name: str, port: int) -> str:
    """Find a place on the loopback.

    Args:
        name: Of the flag that chooses the port.
        port: The wanted one; 0 lets the system choose.

    Raises:
        StageError: Somebody else has the port.
    """
    try:
        with socket.create_server(("127.0.0.1", port)) as listener:
            return f"http://127.0.0.1:{listener.getsockname()[1]}"
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise StageError(
            f"port {port} cannot be had: {why}; choose another one with {name}, "
            f"or {name} 0 for any that is free"
        ) from error


@contextmanager
def fresh_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder for one run of the demo; what the run before left there is removed.

    Raises:
        StageError: Another demo is using it, or it holds what no demo wrote.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "demo.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StageError(
                f"another demo is running in {folder}; end it, or choose another --folder"
            ) from error
        run = folder / "run"
        if run.exists():
            if not (run / _MARK).exists():
                raise StageError(f"{run} was not made by a demo; choose another --folder")
            shutil.rmtree(run)
        run.mkdir()
        (run / _MARK).touch()
        yield run
