"""The real bridge, as a process that can be killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from service_process import ROOT

from service.state.store import State

INSTANCE = "host1"
SCOPE = f"instance:{INSTANCE}"
LEASE = f"bridge:{SCOPE}"
HURRY = {"_SEND_SECONDS": 0.1, "_FREEZE_SECONDS": 0.5}
"""Seconds between two runs of the jobs, so that a test need not wait for them."""


@dataclass(frozen=True)
class BridgeProcess:
    """A running bridge."""

    pid: int
    nursery: "Nursery"

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        assert self.nursery.wait(self.pid) == -signal.SIGKILL

    def stop(self) -> None:
        os.kill(self.pid, signal.SIGTERM)
        assert self.nursery.wait(self.pid) == 0

    def is_running(self) -> bool:
        return Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


@dataclass(frozen=True)
class Nursery:
    """A process that bridges are forked from: each starts at once instead of in seconds."""

    process: subprocess.Popen[str]
    seconds: Mapping[str, float]

    def start(self, *, after: str = "", calls: int = 0) -> BridgeProcess:
        """Start a bridge; with ``after`` it dies right after so many calls of that method."""
        plan = {"after": after, "calls": calls, "seconds": dict(self.seconds)}
        return BridgeProcess(int(self._ask(plan)), self)

    def wait(self, pid: int) -> int:
        return int(self._ask({"wait": pid}))

    def _ask(self, request: Mapping[str, object]) -> str:
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        print(json.dumps(request), file=stdin, flush=True)
        return stdout.readline()


def environment(
    state_url: str, tracking_uri: str, settings: Mapping[str, str] | None = None
) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "CTR_INSTANCE": INSTANCE,
        "CTR_STATE_URL": state_url,
        "MLFLOW_TRACKING_URI": tracking_uri,
        **(settings or {}),
    }


@contextmanager
def nursery(
    folder: Path,
    state_url: str,
    tracking_uri: str,
    *,
    settings: Mapping[str, str] | None = None,
    seconds: Mapping[str, float] = HURRY,
) -> Iterator[Nursery]:
    """Make bridges between a state and a tracking store."""
    with log_of(folder) as log:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "tests/crashing_bridge.py")],
            cwd=folder,
            env=environment(state_url, tracking_uri, settings),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    try:
        yield Nursery(process, seconds)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def log_of(folder: Path) -> IO[bytes]:
    return (folder / "bridge.log").open("ab")


def holder_of(state: State) -> str | None:
    """Who holds the lease; the second part of the name is the process."""
    return state.leases.holder_of(LEASE, time.time())


def holds_lease(state: State, bridge: BridgeProcess) -> bool:
    holder = holder_of(state)
    return holder is not None and holder.split(":")[1] == str(bridge.pid)


def bury(state: State) -> None:
    """Give back the lease of a bridge that is dead, instead of waiting for it to run out."""
    holder = holder_of(state)
    if holder is not None:
        state.leases.release(LEASE, holder)
