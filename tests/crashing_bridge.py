"""Bridges that die at chosen moments, run as a program; `bridge_process` speaks to it.

Each bridge is forked from here, where everything is imported already, and is then what
`python -m bridge run` is: the real parts, with MLflow's adapter watched from outside.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import bridge.process
from bridge.__main__ import main
from bridge.mlflow_tracking import MlflowTracking
from service.monitoring.tracking import Point, TrackedRun

CRASHED = 77


class CrashingTracking(MlflowTracking):
    """The real adapter; the process dies right after MLflow has done what it was told."""

    after: str = ""
    calls_left = 0

    def find_or_create(self, run: TrackedRun, parent_id: str | None) -> str:
        run_id = super().find_or_create(run, parent_id)
        self._count("find_or_create")
        return run_id

    def tell(self, run_id: str, points: Sequence[Point], tags: Mapping[str, str]) -> None:
        super().tell(run_id, points, tags)
        self._count("tell")

    def finish(self, run_id: str, end_ms: int) -> None:
        super().finish(run_id, end_ms)
        self._count("finish")

    def _count(self, call: str) -> None:
        if call == self.after:
            CrashingTracking.calls_left -= 1
            if self.calls_left <= 0:
                os._exit(CRASHED)


def live(plan: Mapping[str, Any]) -> int:
    """Be a bridge, with a plan for its end."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # What a bridge prints is no answer.
    CrashingTracking.after, CrashingTracking.calls_left = plan["after"], plan["calls"]
    for name, value in {"MlflowTracking": CrashingTracking, **plan["seconds"]}.items():
        setattr(bridge.process, name, value)
    return main(["run"])


def serve() -> None:
    """Start a bridge for every plan that comes in, and tell how each ends."""
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            _, status = os.waitpid(request["wait"], 0)
            print(os.waitstatus_to_exitcode(status), flush=True)
            continue
        child = os.fork()
        if child == 0:
            os._exit(live(request))
        print(child, flush=True)


if __name__ == "__main__":
    serve()
