"""What runs: the service with its bridge, MLflow's pages, and Prometheus where it is installed."""

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from demo.interruption import Interruption
from demo.narrator import Narrator
from demo.places import ROOT, Places
from demo.programs import GOOD_ORDER_SECONDS, Program, StageError

ATTRIBUTION_SECONDS, HEALTH_SECONDS, BRIDGE_SECONDS = 10, 30, 10
_SETTINGS = {
    "CTR_ATTRIBUTION_WINDOW": str(ATTRIBUTION_SECONDS),
    "CTR_BRIDGE_WINDOW": str(BRIDGE_SECONDS),
    "CTR_DRIFT_WINDOW": "300",
    "CTR_HEALTH_WINDOW": str(HEALTH_SECONDS),
    "CTR_SNAPSHOT_INTERVAL": "1",
    "CTR_EXPERIMENT_FILE": str(ROOT / "experiment.toml"),
    "CTR_INSTANCE": "demo",
}
"""Shorter than the defaults, so that everything shows within minutes."""
_OURS = ("CTR_", "MLFLOW_")
_STARTS_WITHIN_SECONDS = 180.0
_LOOK_AGAIN_SECONDS = 0.2


class Stage:
    """Programs that run until the block is left."""

    def __init__(
        self,
        run: Path,
        models: Path,
        places: Places,
        *,
        interruption: Interruption,
        narrator: Narrator,
    ) -> None:
        self._run = run
        self._places = places
        self._interruption = interruption
        self._narrator = narrator
        self._environment = environment(models, places)
        self._programs: list[Program] = []
        self._service: Program | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        running = [*filter(None, [self._service]), *self._programs]
        for program in running:
            program.ask_to_end()
        for program in running:
            self._end(program)

    def start_service(self, *, faults: str = "") -> None:
        """Start the service; returns once it is ready.

        Args:
            faults: What goes wrong on purpose, as `CTR_FAULTS` says it.

        Raises:
            StageError: It does not start.
        """
        port = str(httpx.URL(self._places.service).port)
        self._service = Program.start(
            "service",
            [sys.executable, "-m", "service", "serve", "--host", "127.0.0.1", "--port", port],
            folder=self._run,
            environment={**self._environment, **({"CTR_FAULTS": faults} if faults else {})},
        )
        self._until(self._service, lambda: _answers(f"{self._places.service}/readyz"))

    def stop_service(self) -> None:
        """End the service as Ctrl-C would."""
        if self._service is not None:
            service, self._service = self._service, None
            self._end(service)

    def start_others(self) -> None:
        """Start MLflow's pages, and Prometheus where it is; returns once they answer.

        Raises:
            StageError: One does not start.
        """
        if self._service is not None:
            # Two that make the tables of one new database are in each other's way.
            self._until(self._service, self._has_tables)
        mlflow = self._start("mlflow", [sys.executable, "-m", "bridge", "ui"])
        if self._places.prometheus is not None:
            prometheus = self._start("prometheus", prometheus_command(self._run, self._places))
            self._until(prometheus, lambda: _answers(f"{self._places.prometheus}/-/ready"))
        self._until(mlflow, lambda: _answers(f"{self._places.mlflow}/health"))

    def _end(self, program: Program) -> None:
        if not program.end():
            self._narrator.say(
                f"{program.name} did not end within {GOOD_ORDER_SECONDS:g} s and was killed; "
                f"what it said last is in {program.log}"
            )

    def carry_out(self, name: str, command: Sequence[str]) -> None:
        """Run a command to its end.

        Raises:
            StageError: It failed.
        """
        program = self._start(name, command)
        self._wait(program, lambda: program.process.poll() is not None)
        self._programs.remove(program)
        if program.process.returncode:
            program.check()

    def check(self) -> None:
        """See that everything runs.

        Raises:
            StageError: Something has ended by itself.
        """
        for program in (*filter(None, [self._service]), *self._programs):
            program.check()

    def _start(self, name: str, command: Sequence[str]) -> Program:
        program = Program.start(name, command, folder=self._run, environment=self._environment)
        self._programs.append(program)
        return program

    def _has_tables(self) -> bool:
        try:
            answer = httpx.get(
                f"{self._places.service}/monitoring/mlflow", timeout=5, trust_env=False
            )
        except httpx.TransportError:
            return False
        return answer.is_success and answer.json()["experiment_id"] is not None

    def _until(self, program: Program, there: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _STARTS_WITHIN_SECONDS

        def over() -> bool:
            program.check()
            if time.monotonic() > deadline:
                raise StageError(f"{program.name} is not ready; see {program.log}")
            return there()

        self._wait(program, over)

    def _wait(self, program: Program, over: Callable[[], bool]) -> None:
        began = time.monotonic()
        with self._narrator.progress(f"  {program.name}") as bar:
            while not over():
                self._interruption.wait(_LOOK_AGAIN_SECONDS)
                bar.move(time.monotonic() - began)


def environment(models: Path, places: Places) -> Mapping[str, str]:
    """Give the demo's settings, and none that the user has for a service of his own."""
    others = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    searched = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **others,
        **_SETTINGS,
        "CTR_MODELS_DIR": str(models),
        "CTR_MLFLOW_UI_URL": places.mlflow,
        "PYTHONPATH": os.pathsep.join(searched),
        "PYTHONUNBUFFERED": "1",
    }


def prometheus_program() -> str | None:
    """Find Prometheus; None where it is not installed."""
    return shutil.which("prometheus")


def prometheus_command(run: Path, places: Places) -> Sequence[str]:
    """Configure Prometheus with the repository's rules, and give the command that starts it."""
    config = run / "prometheus.json"
    # JSON is YAML too.
    config.write_text(
        json.dumps(
            {
                "global": {"scrape_interval": "2s", "evaluation_interval": "5s"},
                "rule_files": [str(ROOT / "deploy" / "prometheus" / "rules" / "*.yml")],
                "scrape_configs": [
                    {
                        "job_name": "ctr",
                        "static_configs": [
                            {"targets": [httpx.URL(places.service).netloc.decode()]}
                        ],
                    }
                ],
            }
        ),
        encoding="utf-8",
    )
    return [
        prometheus_program() or "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={run / 'prometheus'}",
        f"--web.listen-address={httpx.URL(places.prometheus or '').netloc.decode()}",
        "--log.level=warn",
    ]


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False).is_success
    except httpx.TransportError:
        return False
