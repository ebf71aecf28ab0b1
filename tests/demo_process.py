"""The demo, started as a user starts it."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from service_process import ROOT

_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Demo:
    """A running demo."""

    process: subprocess.Popen[bytes]
    output: Path
    folder: Path

    def said(self) -> str:
        """What it has written so far."""
        return self.output.read_text(errors="replace")

    def wait_for(self, words: str, *, seconds: float) -> None:
        """Wait until it has said something."""
        deadline = time.monotonic() + seconds
        while words not in self.said():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, f"{words!r} not within {seconds:g} s: {self.said()}"
            time.sleep(0.1)

    def address(self, name: str) -> str:
        """Address of the page, of MLflow or of Prometheus."""
        found = re.search(rf"^  {name} +(http://127\.0\.0\.1:\d+)", self.said(), re.MULTILINE)
        assert found, self.said()
        return found[1]

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """Press Ctrl-C: everything in the foreground of its terminal hears it."""
        os.killpg(self.process.pid, number)
        return self.process.wait(timeout=_PATIENCE_SECONDS)


def command(folder: Path, *flags: str) -> Sequence[str]:
    """Start it on free ports."""
    ports = [f"--{name}port" for name in ("", "mlflow-", "prometheus-")]
    free = [word for port in ports for word in (port, "0")]
    return [sys.executable, "-m", "demo", "--folder", str(folder), *free, *flags]


@contextmanager
def running_demo(folder: Path, *flags: str, terminal: int | None = None) -> Iterator[Demo]:
    """Start the demo; at the end of the block it is no more, whatever happened.

    ``terminal`` is the descriptor of one that it is to have; else its output goes to a file alone.
    """
    output = folder.with_name(f"{folder.name}.txt")
    with output.open("wb") as written:
        where = written.fileno() if terminal is None else terminal
        process = subprocess.Popen(
            command(folder, *flags),
            cwd=ROOT,
            stdin=subprocess.DEVNULL if terminal is None else terminal,
            stdout=where,
            stderr=where,
            start_new_session=True,
        )
        demo = Demo(process, output, folder)
        try:
            yield demo
        finally:
            if process.poll() is None:
                demo.end()
            sys.stderr.write(demo.said())


def descendants(pid: int) -> dict[int, str]:
    """Every process that it has started, by id, and those that these have; with their commands."""
    found: dict[int, str] = {}
    for task in Path(f"/proc/{pid}/task").glob("*"):
        for child in (task / "children").read_text().split():
            arguments = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
            found[int(child)] = b" ".join(arguments).decode()
            found |= descendants(int(child))
    return found
