"""The containers of docker-compose.yml without containers.

The same commands, variables, files and health checks; only hosts, ports and folders are others.
"""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from compose_file import FILE, SECRETS, copy_into, resolve
from compose_policy import Container, environment_of, health_check_of, listening_port
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from ports import free_port
from postgres import PASSWORD, SUPERUSER, PostgreSQL
from prometheus_server import wait_until
from service_process import NO_TLS, ROOT

REQUESTS = 40
WINDOW_SECONDS = 5
EXPERIMENT = "ctr_prediction_production"
HURRY = {"CTR_BRIDGE_WINDOW": str(WINDOW_SECONDS), "CTR_SNAPSHOT_INTERVAL": "1"}
"""Added, so that the first window is over in seconds."""
ADDRESS = re.compile(r"(//|@)([a-z][a-z0-9]*|127\.0\.0\.1):(\d+)(?!\w)")

pytestmark = pytest.mark.integration


@dataclass(frozen=True)
class Host:
    """Stands for the engine: gives each container its place on this machine."""

    containers: Mapping[str, Container]
    ports: Mapping[str, int]
    folders: Mapping[str, Path]
    programs: Path
    logs: Path

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    def here(self, text: str) -> str:
        """Map the addresses and folders in a word of a command or the value of a variable."""
        inside = "|".join(self.folders)
        text = re.sub(
            rf"(?<![\w/])({inside})(?![\w-])", lambda found: str(self.folders[found[1]]), text
        )
        text = re.sub(r"(--port=)(\d+)", lambda found: found[1] + self._port(found[2]), text)
        return ADDRESS.sub(self._address, text.replace("0.0.0.0", "127.0.0.1"))  # noqa: S104

    def command(self, name: str) -> list[str]:
        return [self.here(word) for word in self.containers[name]["command"]]

    def environment(self, name: str) -> dict[str, str]:
        """Exactly what the container has; nothing of this process."""
        given = environment_of(self.containers[name])
        found = {key: self.here(value) for key, value in given.items()}
        if "CTR_PORT" in found:
            found["CTR_PORT"] = self._port(found["CTR_PORT"])
        own = HURRY if name in {"service", "bridge"} else {}
        path = (Path(sys.executable).parent, self.programs, "/usr/bin", "/bin")
        return {**found, **own, "PATH": ":".join(map(str, path))}

    def is_well(self, name: str) -> bool:
        """Run the container's health check."""
        command = health_check_of(self.containers[name])
        assert command is not None
        seconds = self.containers[name].get("healthcheck", {}).get("timeout", "5s")
        done = subprocess.run(
            [self.here(word.replace("$$", "$")) for word in command],
            env={**self.environment(name), "PGPORT": str(self.ports["postgres"])},
            cwd=self.folders["/app"],
            capture_output=True,
            check=False,
            # Starting Python takes longer on a machine that also runs all the rest.
            timeout=4 * float(seconds.removesuffix("s")),
        )
        return done.returncode == 0

    @contextmanager
    def running(self, name: str, stop: signal.Signals) -> Iterator[subprocess.Popen[bytes]]:
        """Run the container's command until the block is left; it must end in good order."""
        with (self.logs / f"{name}.log").open("w+") as log:
            process = subprocess.Popen(
                self.command(name),
                cwd=self.folders["/app"],
                env=self.environment(name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            try:
                yield process
                process.send_signal(stop)
                assert process.wait(timeout=30) in {0, -stop}
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
                log.seek(0)
                print(f"--- {name}\n{log.read()}")

    def _port(self, inside: str) -> str:
        by_port = {listening_port(*item): item[0] for item in self.containers.items()}
        return str(self.ports[by_port[int(inside)]])

    def _address(self, found: re.Match[str]) -> str:
        return f"{found[1]}127.0.0.1:{self._port(found[3])}"


@pytest.fixture(scope="module")
def host(
    compose: Path, postgres: PostgreSQL, models_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Host:
    folder = tmp_path_factory.mktemp("host")
    config: dict[str, Any] = resolve(compose, folder, FILE.read_text())
    folders = {
        inside: folder / inside.strip("/").replace("/", "-")
        for inside in ("/app", "/var/lib/ctr", "/mlartifacts", "/tmp")  # noqa: S108
    }
    for outside in folders.values():
        outside.mkdir()
    copy_into(folders["/app"])
    containers = config["services"]
    ports = {name: free_port() for name in containers} | {"postgres": postgres.port}
    return Host(
        containers, ports, {**folders, "/models": models_dir}, postgres.programs, logs=folder
    )


@pytest.fixture(scope="module")
def databases(host: Host, postgres: PostgreSQL) -> None:
    """What the image of PostgreSQL does at its first start."""
    [script] = (ROOT / "deploy/compose/postgres").iterdir()
    own = {"POSTGRES_USER": SUPERUSER, "PGHOST": "127.0.0.1", "PGPORT": str(postgres.port)}
    env = {**host.environment("postgres"), **own, "PGPASSWORD": PASSWORD}
    subprocess.run([str(script)], env=env, check=True, capture_output=True)


@dataclass(frozen=True)
class Running:
    """All processes, and the scores that the service gave."""

    host: Host
    processes: Mapping[str, subprocess.Popen[bytes]]
    scores: list[float]

    def tracking(self) -> MlflowClient:
        return MlflowClient(self.host.url("mlflow"))

    def runs(self, kind: str) -> list[Run]:
        client = self.tracking()
        experiment = client.get_experiment_by_name(EXPERIMENT)
        query = f"tags.`ctr.kind` = '{kind}'"
        return list(client.search_runs([experiment.experiment_id], query)) if experiment else []


@pytest.fixture(scope="module")
def running(host: Host, databases: None) -> Iterator[Running]:
    del databases
    assert host.is_well("postgres")
    before = written(host.folders["/app"])
    with ExitStack() as stack:
        # As depends_on orders them; MLflow takes longest and is waited for by nobody.
        processes = {"mlflow": stack.enter_context(host.running("mlflow", signal.SIGINT))}
        processes["service"] = stack.enter_context(host.running("service", signal.SIGINT))
        await_health(host, "service", 120)
        processes["bridge"] = stack.enter_context(host.running("bridge", signal.SIGINT))
        scores = predict(host.url("service"))
        await_health(host, "mlflow", 120)
        yield Running(host, processes, scores)
    # All of it can be read-only, as the file says.
    assert written(host.folders["/app"]) == before


def await_health(host: Host, name: str, seconds: float) -> None:
    wait_until(lambda: host.is_well(name), seconds=seconds, what=f"{name} is well")


def written(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def predict(url: str) -> list[float]:
    with httpx.Client(base_url=url, timeout=30) as client:
        answers = [
            client.post(
                "/predict_ctr",
                params={"model_name": "xgboost"},
                json={
                    "user_id": f"u{i}",
                    "ad_id": f"a{i % 7}",
                    "device": "mobile",
                    "placement": "header",
                    "hour": i % 24,
                    "day_of_week": i % 7,
                },
            )
            for i in range(REQUESTS)
        ]
    return [answer.json()["predicted_ctr"] for answer in answers]


def values(running: Running, name: str) -> list[float]:
    client = running.tracking()
    return [
        point.value
        for run in running.runs("monitoring")
        if run.data.tags["model_name"] == "xgboost"
        for point in client.get_metric_history(run.info.run_id, name)
    ]


def test_models_that_are_there_are_not_trained_again(host: Host) -> None:
    before = written(host.folders["/models"])

    subprocess.run(
        host.command("train"), cwd=host.folders["/app"], env=host.environment("train"), check=True
    )

    assert before
    assert written(host.folders["/models"]) == before


def test_what_the_service_predicted_is_found_in_mlflow(running: Running) -> None:
    wait_until(
        lambda: sum(values(running, "requests_in_window")) == REQUESTS,
        seconds=60,
        what="the requests arrive in MLflow",
    )

    means, counts = values(running, "mean_prediction"), values(running, "predictions_in_window")
    counts = [count for count in counts if count]
    weighted = sum(mean * count for mean, count in zip(means, counts, strict=True))
    assert weighted == pytest.approx(sum(running.scores), rel=1e-9)
    sources = {run.data.tags["source"] for run in running.runs("monitoring")}
    assert sources == {"instance:compose"}


def test_model_files_arrive_in_the_volume_of_mlflow(running: Running) -> None:
    folder = running.host.folders["/mlartifacts"]

    wait_until(
        lambda: len({path.suffix for path in folder.rglob("*") if path.is_file()}) > 1,
        seconds=60,
        what="the files of a release arrive",
    )


def test_every_health_check_passes_where_all_is_well(running: Running) -> None:
    for name in ("postgres", "mlflow", "service", "bridge"):
        await_health(running.host, name, 30)


def test_a_health_check_fails_where_its_process_is_gone(running: Running) -> None:
    host = running.host
    nobody = {**host.ports, "service": free_port(), "mlflow": free_port(), "postgres": free_port()}
    lonely = Host(host.containers, nobody, host.folders, host.programs, host.logs)

    assert [
        name for name in ("service", "mlflow", "bridge", "postgres") if lonely.is_well(name)
    ] == []


def test_mlflow_answers_to_its_names_alone(running: Running) -> None:
    def status(name: str) -> int:
        url = f"{running.host.url('mlflow')}/api/2.0/mlflow/experiments/search"
        return httpx.post(
            url, json={"max_results": 1}, headers={"Host": name}, verify=NO_TLS
        ).status_code

    assert [status(name) for name in ("mlflow:5000", "mlflow", "127.0.0.1:5000")] == [200] * 3
    assert status("evil.example:5000") == 403


def test_mlflow_cannot_read_the_state(running: Running, postgres: PostgreSQL) -> None:
    def ask(user: str, password: str, database: str) -> int:
        return subprocess.run(
            [
                *(str(postgres.programs / "psql"), "-h", "127.0.0.1", "-p", str(postgres.port)),
                *("-U", user, "-d", database, "-c", "SELECT 1"),
            ],
            env={"PGPASSWORD": password},
            check=False,
            capture_output=True,
        ).returncode

    del running
    assert ask("mlflow", SECRETS["MLFLOW_DB_PASSWORD"], "mlflow") == 0
    assert ask("mlflow", SECRETS["MLFLOW_DB_PASSWORD"], "ctr") != 0
    assert ask("ctr", SECRETS["STATE_DB_PASSWORD"], "mlflow") != 0


def test_the_memory_limits_leave_room(running: Running) -> None:
    for name, process in running.processes.items():
        limit = int(running.host.containers[name]["mem_limit"])
        used = memory(process.pid)
        print(f"{name}: {used / 2**20:.0f} MiB of {limit / 2**20:.0f}")
        assert 0 < used < 0.8 * limit


def test_what_the_containers_log_is_json_without_secrets(running: Running) -> None:
    logs = {path.stem: path.read_text() for path in running.host.logs.glob("*.log")}

    for name in ("service", "bridge"):
        told = [json.loads(line) for line in logs[name].splitlines()]
        assert {record["process"] for record in told} & {name}
        assert all(record["level"] in {"info", "warning"} for record in told)
    assert '"process": "mlflow"' in logs["mlflow"]
    for log in logs.values():
        assert not [name for name, secret in SECRETS.items() if secret in log]


def memory(pid: int) -> int:
    """Proportional share of a process and its descendants, in bytes."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    found = re.search(
        r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE
    )
    assert found
    return int(found[1]) * 1024 + sum(memory(int(child)) for child in children)
