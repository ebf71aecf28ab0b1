"""Gives a target whatever reaches code that no input has reached before."""

import importlib
import tempfile
from pathlib import Path
from typing import Never, Protocol, cast

INSTRUMENTED = ["service"]
"""Packages whose branches guide the search."""
_LONGEST_SECONDS = 20
"""For one input; what takes longer hangs."""
_MOST_MIB = 2048


class Target(Protocol):
    """A module of :mod:`fuzz.targets`."""

    def seeds(self) -> list[bytes]:
        """Inputs to begin with."""

    def check(self, data: bytes) -> None:
        """Raise anything where the law of the target is broken."""


def fuzz(module: str, *, seconds: int, runs: int, seed: int, findings: Path) -> Never:
    """Search until the time or the number of inputs is over, and end the process.

    The exit status is 0, or another one where an input broke the law; it is then told and kept in
    ``findings``.

    Args:
        module: Name of a target's module.
        seconds: 0 for no limit.
        runs: How many inputs; -1 for no limit.
        seed: Of the dice; equal ones search alike where ``runs`` is the limit.
        findings: Folder.
    """
    import atheris  # noqa: PLC0415 - on Linux alone

    with atheris.instrument_imports(include=INSTRUMENTED):
        target = cast("Target", importlib.import_module(module))
    findings.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as corpus:
        for number, content in enumerate(target.seeds()):
            (Path(corpus) / str(number)).write_bytes(content)
        flags = [
            *(f"-max_total_time={seconds}", f"-runs={runs}", f"-seed={seed}"),
            *(f"-timeout={_LONGEST_SECONDS}", f"-rss_limit_mb={_MOST_MIB}"),
            *(f"-artifact_prefix={findings}/{module.rpartition('.')[2]}-", "-print_final_stats=1"),
            *("-verbosity=1", corpus),
        ]
        atheris.Setup([module, *flags], target.check)
        atheris.Fuzz()
    raise AssertionError("libFuzzer ends the process")
