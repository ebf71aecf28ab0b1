"""Programs that run beside the demo, and that end with it."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_LAST_WORDS = 5
_LOOK_AGAIN_SECONDS = 0.05
GOOD_ORDER_SECONDS = 30.0
"""How long a program that was asked to end may take."""


class StageError(Exception):
    """Something that the demo needs is missing or has ended; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program in a session of its own, so that Ctrl-C reaches only the demo, which ends it."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @classmethod
    def start(
        cls,
        name: str,
        command: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str],
    ) -> Self:
        """Start it in a folder, where also its log goes."""
        log = folder / f"{name}.log"
        with log.open("ab") as written:
            process = subprocess.Popen(  # noqa: S603 - our own words
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return cls(name, process, log)

    def check(self) -> None:
        """See that it runs.

        Raises:
            StageError: It has ended.
        """
        if self.process.poll() is not None:
            raise StageError(
                f"{self.name} ended with status {self.process.returncode}; its last words, from "
                f"{self.log}:\n{self.last_words()}"
            )

    def last_words(self) -> str:
        """Give the end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-_LAST_WORDS:])

    def ask_to_end(self) -> None:
        """Do as Ctrl-C in its own terminal would."""
        if self.process.poll() is None:
            self._tell(signal.SIGINT)

    def end(self, *, within_seconds: float = GOOD_ORDER_SECONDS) -> bool:
        """Wait until it has ended and all that it started in its session; then nothing is left.

        Returns:
            Whether it ended when it was asked to; else it was killed.
        """
        self.ask_to_end()
        deadline = time.monotonic() + within_seconds
        while self.process.poll() is None or self._anybody():
            if time.monotonic() > deadline:
                self._tell(signal.SIGKILL)
                self.process.wait()
                return False
            time.sleep(_LOOK_AGAIN_SECONDS)
        return True

    def _anybody(self) -> bool:
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def _tell(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)
