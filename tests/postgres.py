"""A PostgreSQL server of the tests' own: in a temporary folder, on the loopback only."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from ports import free_port
from prometheus_server import wait_until

PASSWORD = "s3cret/of:the@tests"  # noqa: S105
SUPERUSER = "tester"
_NOBODY = 65534
_PROGRAMS = Path("/usr/lib/postgresql")


@dataclass(frozen=True)
class PostgreSQL:
    """A running server."""

    programs: Path
    folder: Path
    port: int

    def url(self, database: str) -> str:
        return (
            f"postgresql://{SUPERUSER}:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}/{database}"
        )

    def create_database(self, name: str) -> str:
        """Create an empty database and return its URL."""
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", SUPERUSER, name)
        return self.url(name)

    def start(self) -> None:
        options = f"-c listen_addresses=127.0.0.1 -c port={self.port} -c fsync=off"
        options += " -c unix_socket_directories=''"
        log = str(self.folder / "log")
        self._run("pg_ctl", "start", "-w", "-D", self._cluster, "-l", log, "-o", options)

    def stop(self) -> None:
        self._run("pg_ctl", "stop", "-w", "-m", "immediate", "-D", self._cluster)

    def kill(self) -> None:
        """Kill every process of it at once; what it has written is left to the system."""
        pids = self._pids()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        wait_until(
            lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in pids),
            seconds=30,
            what="PostgreSQL is gone",
        )

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let it accept and never answer."""
        pids = self._pids()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def _pids(self) -> list[int]:
        """Find the server, first, and those that serve its clients."""
        first = (Path(self._cluster) / "postmaster.pid").read_text().split()[0]
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        return [int(pid) for pid in (first, *children)]

    def make_cluster(self) -> None:
        password_file = self.folder / "password"
        password_file.write_text(PASSWORD)
        self._run(
            "initdb",
            *("-D", self._cluster, "-U", SUPERUSER, "--auth=scram-sha-256", "--no-sync"),
            *("--encoding=UTF8", "--locale=C", f"--pwfile={password_file}"),
        )

    @property
    def _cluster(self) -> str:
        return str(self.folder / "cluster")

    def _run(self, program: str, *arguments: str) -> None:
        command: Sequence[str] = [str(self.programs / program), *arguments]
        # The server refuses to run as root.
        user = _NOBODY if os.getuid() == 0 else None
        # Not a pipe: the server inherits it and would hold it open.
        with (self.folder / "output").open("w+") as output:
            done = subprocess.run(
                command,
                cwd=self.folder,
                env={"PATH": os.environ["PATH"], "PGPASSWORD": PASSWORD, "LC_ALL": "C"},
                user=user,
                group=user,
                extra_groups=[] if user else None,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
                timeout=60,
            )
            output.seek(0)
            assert done.returncode == 0, f"{' '.join(command)}:\n{output.read()}{self._log()}"

    def _log(self) -> str:
        log = self.folder / "log"
        return log.read_text()[-2000:] if log.exists() else ""


def find_programs() -> Path | None:
    """Folder of the newest installed server's programs."""
    found = [path.parent for path in _PROGRAMS.glob("*/bin/initdb")]
    on_path = shutil.which("initdb")
    if on_path:
        found.append(Path(on_path).resolve().parent)
    return max(found, key=lambda path: (path.parent.name.zfill(4), path), default=None)


@contextmanager
def running_postgres(programs: Path) -> Iterator[PostgreSQL]:
    """Start a server in a folder of its own and remove both in the end."""
    with tempfile.TemporaryDirectory(prefix="ctr-postgres-") as name:
        folder = Path(name)
        if os.getuid() == 0:
            os.chown(folder, _NOBODY, _NOBODY)
        server = PostgreSQL(programs, folder, free_port())
        server.make_cluster()
        server.start()
        try:
            yield server
        finally:
            server.stop()
