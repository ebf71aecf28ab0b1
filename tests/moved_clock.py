"""A clock that a test moves under a running service, with Debian's libfaketime."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

_LIBRARIES = "/usr/lib/*/faketime/libfaketimeMT.so.1"


@dataclass(frozen=True)
class MovedClock:
    """Says by how much the clock of those programs is off that have :attr:`env`."""

    file: Path
    library: Path

    @property
    def env(self) -> Mapping[str, str]:
        return {
            "LD_PRELOAD": str(self.library),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_CACHE_DURATION": "1",
            # Nobody can set it, and whoever waits waits by it.
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def move(self, seconds: int) -> None:
        """Set it off by so much; each program finds out within a second."""
        unnamed = self.file.with_suffix(".new")
        unnamed.write_text(f"{seconds:+d}s\n")
        unnamed.rename(self.file)


def moved_clock(folder: Path) -> MovedClock:
    """A clock that is right until it is moved; without libfaketime skip, in CI fail."""
    found = sorted(Path("/").glob(_LIBRARIES.removeprefix("/")))
    if not found:
        reason = "libfaketime is missing: sudo apt-get install faketime"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    clock = MovedClock(folder / "clock", found[0])
    clock.move(0)
    return clock
