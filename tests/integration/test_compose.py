"""docker-compose.yml: Compose accepts it, it keeps to the policy, and planted faults are found."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from compose_file import FILE, SECRETS, resolve, run_compose
from compose_policy import violations
from service_process import ROOT

pytestmark = pytest.mark.integration


def changed(old: str, new: str) -> str:
    """Return the file with the first occurrence of a text replaced."""
    text = FILE.read_text()
    assert old in text
    return text.replace(old, new, 1)


@pytest.fixture(scope="module")
def config(compose: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return resolve(compose, tmp_path_factory.mktemp("compose"), FILE.read_text())


def test_all_parts_are_there(config: dict[str, Any]) -> None:
    assert set(config["services"]) == {
        *("service", "bridge", "train", "mlflow", "postgres"),
        *("prometheus", "alertmanager", "grafana"),
    }


def test_the_file_keeps_to_the_policy(config: dict[str, Any]) -> None:
    assert violations(config) == []


def test_the_bridge_looks_where_the_service_counts(config: dict[str, Any]) -> None:
    service, bridge = (config["services"][name]["environment"] for name in ("service", "bridge"))

    # Otherwise each would start, and nothing would ever arrive.
    assert service.items() - bridge.items() == {
        ("CTR_WORKERS", "2"),
        ("CTR_BRIDGE_ENABLED", "false"),
    }
    assert bridge["CTR_INSTANCE"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("mlflow: {condition: service_started}", "mlflo: {condition: service_started}", "mlflo"),
        ("mem_limit: 768m", "memory_limit: 768m", "memory_limit"),
        ("127.0.0.1:8000:8000", "127.0.0.1:80000:8000", "80000"),
        ('"state:/var/lib/ctr"', '"stat:/var/lib/ctr"', "stat"),
        ("networks: [state, history]", "networks: [database]", "database"),
        ("postgres: {condition: service_healthy}", "postgres: {condition: ready}", "condition"),
        ("mem_limit: 2g", "mem_limit: plenty", "plenty"),
        ("interval: 30s", "interval: often", "often"),
        ("<<: *state", "<<: *stat", "stat"),
        ("  bridge:", "  bridge: {}\n  bridge:", "bridge"),
        ("network_mode: none", "network_mode: none\n    networks: [serving]", "network"),
        ("${STATE_DB_PASSWORD:?", "${2:?", "invalid interpolation"),
    ],
)
def test_compose_refuses_a_planted_fault(
    compose: Path, tmp_path: Path, old: str, new: str, message: str
) -> None:
    done = run_compose(compose, tmp_path, changed(old, new))

    assert done.returncode != 0
    assert message in done.stderr


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("empty", ["missing", "empty"])
def test_nothing_starts_without_a_password(
    compose: Path, tmp_path: Path, name: str, empty: str
) -> None:
    secrets = {other: value for other, value in SECRETS.items() if other != name}
    if empty == "empty":
        secrets[name] = ""

    done = run_compose(compose, tmp_path, FILE.read_text(), secrets)

    assert done.returncode != 0
    assert name in done.stderr
    assert ".env.example" in done.stderr


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ('"127.0.0.1:8000:8000"', '"8000:8000"', "service: port 8000 is published beyond"),
        ('"127.0.0.1:9090:9090"', '"0.0.0.0:9090:9090"', "prometheus: port 9090 is published"),
        ("  read_only: true", "  read_only: false", "can write to its image"),
        ("cap_drop: [ALL]", "cap_drop: [CHOWN]", "keeps capabilities"),
        ('["no-new-privileges:true"]', "[]", "may gain privileges"),
        ('user: "65534:65534"', 'user: "0:0"', "prometheus: is not known to run as another user"),
        ('    user: "472:0"\n', "", "grafana: is not known to run as another user"),
        ("mem_limit: 128m", "privileged: true", "alertmanager: has more rights"),
        ("mem_limit: 128m", "restart: always", "alertmanager: has no mem_limit"),
        (":/etc/prometheus:ro", ":/etc/prometheus", "prometheus: can write to prometheus"),
        ("prom/prometheus:v3.5.3", "prom/prometheus:latest", "is not pinned"),
        ("prom/prometheus:v3.5.3", "prom/prometheus", "is not pinned"),
        ("${POSTGRES_PASSWORD:?set it", "postgres${NONE:-", "postgres: POSTGRES_PASSWORD holds"),
        (
            "mlflow:${MLFLOW_DB_PASSWORD:?set it in .env, see .env.example}@",
            "mlflow:mlflow@",
            "mlflow: MLFLOW_BACKEND_STORE_URI holds a password",
        ),
        ('CTR_WORKERS: "2"', 'CTR_WORKER: "2"', "CTR_WORKER is not a setting"),
        ('CTR_WORKERS: "2"', 'CTR_WORKERS: "two"', "service: CTR_WORKERS: "),
        ("MLFLOW_DISABLE_TELEMETRY", "MLFLOW_NO_TELEMETRY", "MLFLOW_NO_TELEMETRY is not a"),
        ("--port=5000", "--port=5001", "mlflow: publishes 5000:5000, where it does not listen"),
        ("http://mlflow:5000", "http://mlflow:5001", "bridge: nobody listens on mlflow:5001"),
        ("@postgres:5432/ctr", "@postgresql:5432/ctr", "nobody listens on postgresql:5432"),
        (
            "networks: [serving, state]",
            "networks: [serving]",
            "service: has no network in common with postgres",
        ),
        (
            "train: {condition: service_completed_successfully}",
            "train: {condition: service_started}",
            "service: waits for train until it is service_started",
        ),
        ("networks: [alerts]", "networks: [alerts, serving]", "alertmanager: can be reached by"),
        ("networks: [dashboards]", "networks: [dashboards, tracking]", "grafana: can be reached"),
        ("networks: [serving, state]", "networks: [serving, state, tracking]", "mlflow: can be"),
        ("networks: [tracking, history]", "networks: [tracking, state, history]", "by service"),
        ('ANONYMOUS_ENABLED: "false"', 'ANONYMOUS_ENABLED: "true"', "ANONYMOUS_ENABLED leaves it"),
        ('      GF_AUTH_ANONYMOUS_ENABLED: "false"\n', "", "ANONYMOUS_ENABLED leaves it open"),
        ('ALLOW_SIGN_UP: "false"', 'ALLOW_SIGN_UP: "true"', "ALLOW_SIGN_UP leaves it open"),
        (
            "GF_SECURITY_ADMIN_PASSWORD:",
            "GF_SECURITY_ADMIN_EMAIL:",
            "ADMIN_PASSWORD leaves it open",
        ),
        ("--web.listen-address=:9090", "--web.enable-admin-api", "admin-api opens it"),
        ("--web.listen-address=:9090", "--web.enable-lifecycle", "lifecycle opens it"),
        ("--allowed-hosts=mlflow,", "--allowed-hosts=*,", "mlflow: answers to any name"),
        ("--allowed-hosts=mlflow", "--cors-allowed-origins=mlflow", "allowed-origins=mlflow"),
        (
            "--port=5000",
            "--port=5000\n      - --password=${STATE_DB_PASSWORD}",
            "among its arguments",
        ),
    ],
)
def test_the_policy_finds_a_planted_fault(
    compose: Path, tmp_path: Path, old: str, new: str, found: str
) -> None:
    mutant = resolve(compose, tmp_path, changed(old, new))

    assert any(found in violation for violation in violations(mutant)), violations(mutant)


def test_what_is_mounted_from_the_project_is_there(config: dict[str, Any]) -> None:
    sources = {
        Path(volume["source"])
        for container in config["services"].values()
        for volume in container.get("volumes") or ()
        if volume["type"] == "bind"
    }

    assert len(sources) == 5
    assert [source for source in sources if not source.exists()] == []
    # Told by a command, found in a mounted folder.
    assert (ROOT / "deploy/prometheus/prometheus.compose.yml").exists()


def test_make_env_writes_random_secrets_once(compose: Path, tmp_path: Path) -> None:
    def make_env() -> str:
        subprocess.run([str(ROOT / "scripts/make_env.sh"), str(tmp_path)], check=True)
        return (tmp_path / ".env").read_text()

    first = make_env()

    values = dict(line.split("=") for line in first.splitlines())
    assert set(values) == set(SECRETS)
    assert len(set(values.values())) == len(values)
    assert all(re.fullmatch("[0-9a-f]{48}", value) for value in values.values())
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    assert make_env() == first
    assert [path.name for path in tmp_path.iterdir()] == [".env"]
    done = run_compose(compose, tmp_path, FILE.read_text(), values)
    assert json.loads(done.stdout)["services"]["service"]
