"""The machine, the versions on it, and which of its cores serve and which send."""

import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Self

_PACKAGES = (
    "fastapi",
    "starlette",
    "uvicorn",
    "uvloop",
    "httptools",
    "pydantic",
    "numpy",
    "xgboost-cpu",
    "xgboost",
    "prometheus-client",
    "prometheus-fastapi-instrumentator",
)


class ToolMissingError(Exception):
    """A program that measuring needs is not installed; the message says how to get it."""


@dataclass(frozen=True)
class Cores:
    """Which cores servers run on and which the load comes from; None leaves it to the kernel."""

    servers: frozenset[int] | None
    load: frozenset[int] | None

    @classmethod
    def divided(cls) -> Self:
        """Give one core to the servers and another to the load, where there are two."""
        return cls.divided_for(workers=1)

    @classmethod
    def divided_for(cls, *, workers: int) -> Self:
        """Give a core to each of ``workers`` and another to the load, where there are so many."""
        ours = sorted(os.sched_getaffinity(0))
        if len(ours) < workers + 1 or shutil.which("taskset") is None:
            return cls(None, None)
        return cls(frozenset(ours[:workers]), frozenset(ours[workers : workers + 1]))

    def __str__(self) -> str:
        if self.servers is None or self.load is None:
            return "not pinned"
        return f"servers on core {_listed(self.servers)}, load on core {_listed(self.load)}"


def pinned(command: list[str], cores: frozenset[int] | None) -> list[str]:
    """Have ``command`` run on ``cores`` only, with all that it starts."""
    return command if cores is None else ["taskset", "--cpu-list", _listed(cores), *command]


@dataclass(frozen=True)
class Machine:
    """What the figures were taken on."""

    processor: str
    cores: int
    load_at_start: float
    """Mean number of running processes over the last minute, before anything was measured."""
    kernel: str
    versions: dict[str, str]

    @classmethod
    def here(cls) -> Self:
        """Describe this machine.

        Raises:
            ToolMissingError: There is no wrk.
        """
        return cls(
            processor=_processor(),
            cores=len(os.sched_getaffinity(0)),
            load_at_start=os.getloadavg()[0],
            kernel=os.uname().release,
            versions={
                "python": platform.python_version(),
                **_package_versions(),
                "wrk": _wrk_version(),
            },
        )

    def __str__(self) -> str:
        versions = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        return (
            f"{self.processor}, {self.cores} cores, Linux {self.kernel}, "
            f"load {self.load_at_start:.2f} at the start.\n{versions}."
        )


def wrk() -> str:
    """Find wrk.

    Raises:
        ToolMissingError: It is not installed.
    """
    found = shutil.which("wrk")
    if found is None:
        raise ToolMissingError("wrk is not installed: apt-get install wrk")
    return found


def _wrk_version() -> str:
    told = subprocess.run([wrk(), "-v"], capture_output=True, text=True, check=False)  # noqa: S603
    return (told.stdout + told.stderr).split("[")[0].removeprefix("wrk").strip()


def _processor() -> str:
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return found.group(1) if found else os.uname().machine


def _package_versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _listed(cores: frozenset[int]) -> str:
    return ",".join(map(str, sorted(cores)))
