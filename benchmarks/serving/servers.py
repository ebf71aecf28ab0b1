"""Servers as processes of their own: the service as a user starts it, and what it is beside."""

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.serving.machine import pinned

ROOT = Path(__file__).parents[2]
_START_SECONDS, _STOP_SECONDS = 60.0, 30.0
_MAKE_UP_SECONDS = 0.3
_KILOBYTES = 1024
"""In a megabyte."""


class ServerFailedError(Exception):
    """A server did not start or does not answer as it should."""


@dataclass(frozen=True)
class Command:
    """How a server is started; it says its address in the last word of its first line."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    ready_path: str = "/readyz"


@dataclass(frozen=True)
class Memory:
    """What one process holds."""

    pss_megabytes: float
    """Its proportional set size: of what it shares with others, such as libraries, its part."""
    rss_megabytes: float
    """The same with all that is shared."""
    anonymous_megabytes: float
    """Of the proportional set what is in no file. The rest, above all code, also changes with what
    other processes read."""


@dataclass(frozen=True)
class Server:
    """A server that answers."""

    name: str
    address: str
    """Host and port."""
    pid: int
    ready_after_seconds: float
    """From its start to its first answer."""

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{self.address}"

    def cpu_seconds(self) -> float:
        """Processor time of the whole tree of processes, user and system."""
        return sum(_cpu_seconds(pid) for pid in _tree(self.pid))

    def worker_memory(self) -> Memory:
        """Memory of the largest process that serves."""
        return max(map(_memory, _workers(self.pid)), key=lambda memory: memory.pss_megabytes)

    def children(self) -> Sequence[int]:
        """List the processes below the first one."""
        return list(_tree(self.pid))[1:]

    def open_files(self) -> int:
        """How many files and sockets the first process holds open."""
        return sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir())


def service(
    name: str, models_dir: Path, *, workers: int = 1, environment: Mapping[str, str] | None = None
) -> Command:
    """Start this project's service with everything on, without the bridge unless told."""
    script = [sys.executable, str(ROOT / "scripts" / "run_api.py"), "--port", "0"]
    folders = ["--models-dir", str(models_dir.absolute()), "--state-dir", "state"]
    return Command(
        name,
        [*script, *folders, "--workers", str(workers)],
        {"CTR_BRIDGE_ENABLED": "false", **(environment or {})},
    )


def peer(name: str, models_dir: Path, *, ready_path: str) -> Command:
    """Start one of the servers of :mod:`benchmarks.serving.peers`."""
    module = [sys.executable, "-m", "benchmarks.serving.peers"]
    search = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    arguments = [*module, name, str(models_dir.absolute())]
    return Command(name, arguments, {"PYTHONPATH": search}, ready_path)


@contextmanager
def running(
    commands: Sequence[Command], folder: Path, *, cores: frozenset[int] | None
) -> Iterator[Mapping[str, Server]]:
    """Run servers at the same time, each in a new folder of its own below ``folder``.

    Raises:
        ServerFailedError: One does not start; the message has what it said.
    """
    processes: list[subprocess.Popen[str]] = []
    try:
        began = time.perf_counter()
        homes = [_home(folder, command.name) for command in commands]
        for command, home in zip(commands, homes, strict=True):
            processes.append(_started(command, home, cores))
        yield {
            command.name: _ready(command, process, home, began)
            for command, process, home in zip(commands, processes, homes, strict=True)
        }
    finally:
        for process in processes:
            process.send_signal(signal.SIGINT)
        for process in processes:
            _stopped(process)


@contextmanager
def paused(servers: Iterable[Server]) -> Iterator[None]:
    """Let them do nothing at all meanwhile: even idle, one that monitors has work now and then.

    What they have missed is made up for before this returns.
    """
    processes = [pid for server in servers for pid in _tree(server.pid)]
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in processes:
            os.kill(pid, signal.SIGCONT)
        time.sleep(_MAKE_UP_SECONDS)


def _home(folder: Path, name: str) -> Path:
    """Make a folder that no run before has used: a service would go on counting in it."""
    life = sum(1 for _ in folder.glob(f"{name}-*"))
    home = folder / f"{name}-{life}"
    home.mkdir()
    return home


def _started(command: Command, home: Path, cores: frozenset[int] | None) -> subprocess.Popen[str]:
    with (home / "log").open("w") as log:
        return subprocess.Popen(  # noqa: S603 - our own server
            pinned(list(command.arguments), cores),
            cwd=home,
            env={**os.environ, **command.environment},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )


def _ready(command: Command, process: subprocess.Popen[str], home: Path, began: float) -> Server:
    said = process.stdout.readline().split() if process.stdout is not None else []
    if not said:
        raise ServerFailedError(f"{command.name} did not start: {(home / 'log').read_text()}")
    address = said[-1].removeprefix("http://")
    connection = http.client.HTTPConnection(address, timeout=_START_SECONDS)
    connection.request("GET", command.ready_path)
    answer = connection.getresponse()
    answer.read()
    if answer.status != http.HTTPStatus.OK:
        raise ServerFailedError(f"{command.name}: {command.ready_path} answers {answer.status}")
    connection.close()
    return Server(command.name, address, process.pid, time.perf_counter() - began)


def _stopped(process: subprocess.Popen[str]) -> None:
    try:
        process.communicate(timeout=_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def _tree(pid: int) -> Iterator[int]:
    yield pid
    # A process that a thread has started is listed with that thread.
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):
            for child in children.read_text().split():
                yield from _tree(int(child))


def _cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _workers(pid: int) -> list[int]:
    """Find the processes that serve: those that the launcher spawned, or else itself."""
    found = [
        child
        for child in _tree(pid)
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]
    return found or [pid]


def _memory(pid: int) -> Memory:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return Memory(*(kilobytes[name] / _KILOBYTES for name in ("Pss", "Rss", "Pss_Anon")))
