"""Load from wrk, a process of its own; any answer that is no success makes a measurement fail."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving.machine import pinned, wrk
from benchmarks.serving.servers import Server

CONNECTIONS = 16
_SCRIPT = Path(__file__).with_name("load.lua")
_MICROSECONDS = 1e6
_MICROSECONDS_PER_MS = 1000


class LoadFailedError(Exception):
    """There were socket errors, time-outs or answers that are no success: the figures are void."""


@dataclass(frozen=True)
class Traffic:
    """What is asked."""

    path: str
    bodies: Path | None = None
    """File with one body a line, sent by POST in rotation; None for a plain GET."""
    fresh_users: bool = False
    """Whether every ``@`` in a body becomes a number that was never sent before."""
    connections: int = CONNECTIONS

    def arguments(self) -> list[str]:
        """What the script is told."""
        words = ["fresh"] if self.fresh_users else []
        return [] if self.bodies is None else [str(self.bodies), *words]


@dataclass(frozen=True)
class Load:
    """What one run of wrk measured. Latencies are those of a closed loop under full load."""

    requests: int
    seconds: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    p999_ms: float
    cpu_us: float
    """Processor time of the server's tree of processes per request."""

    @property
    def per_second(self) -> float:
        """Answers per second."""
        return self.requests / self.seconds


def each(runs: Sequence[Load], figure: str) -> list[float]:
    """Take one figure of every run."""
    return [float(getattr(run, figure)) for run in runs]


def load(
    server: Server, traffic: Traffic, *, seconds: int, cores: frozenset[int] | None = None
) -> Load:
    """Ask ``server`` as fast as it answers.

    Raises:
        LoadFailedError: Not every request was answered with success.
    """
    cpu = server.cpu_seconds()
    output = _wrk(server.url, traffic, seconds, cores)
    cpu = server.cpu_seconds() - cpu
    told = json.loads(output.splitlines()[-1])
    wrong = {name: count for name, count in told["errors"].items() if count}
    if wrong or not told["requests"]:
        raise LoadFailedError(
            f"{server.name}, {traffic.path}: of {told['requests']} requests failed {wrong}"
        )
    p50, p90, p99, p999 = (us / _MICROSECONDS_PER_MS for us in told["latency_us"])
    return Load(
        requests=told["requests"],
        seconds=told["microseconds"] / _MICROSECONDS,
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99,
        p999_ms=p999,
        cpu_us=cpu / told["requests"] * _MICROSECONDS,
    )


def _wrk(url: str, traffic: Traffic, seconds: int, cores: frozenset[int] | None) -> str:
    command = [
        *(wrk(), "-t1", f"-c{traffic.connections}", f"-d{seconds}s", "-s", str(_SCRIPT)),
        *(url + traffic.path, "--", *traffic.arguments()),
    ]
    done = subprocess.run(  # noqa: S603 - wrk, with a script of ours
        pinned(command, cores), capture_output=True, text=True, check=False
    )
    if done.returncode or not done.stdout:
        raise LoadFailedError(f"wrk ended with {done.returncode}: {done.stderr or done.stdout}")
    return done.stdout
