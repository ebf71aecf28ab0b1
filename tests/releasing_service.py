"""A service whose models are replaced while it runs, and what it says of them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from model_versions import next_version
from prometheus_server import wait_until
from service_process import Service, children, running_service

EXPERIMENT = """name = "t"
salt = "s"

[variants]
logistic = 0.5
xgboost = 0.5
"""


@contextmanager
def serving(
    models: Path, experiment: Path, *, workers: int = 1, name: str = "state"
) -> Iterator[Service]:
    fast = {"CTR_SNAPSHOT_INTERVAL": "1", "CTR_EXPERIMENT_FILE": str(experiment)}
    state = models.parent / name
    with running_service(state, models, env=fast, workers=workers) as service:
        if workers > 1:
            wait_until(
                lambda: len(children(service.process.pid)) == workers, seconds=30, what="workers"
            )
        yield service


def served(client: httpx.Client) -> dict[str, str]:
    versions: dict[str, str] = client.get("/readyz").json()["models"]
    return versions


def served_by_every_connection(service: Service, looks: int = 30) -> set[str]:
    """Ask over new connections, which reach all workers."""
    found = set()
    for _ in range(looks):
        with service.client() as client:
            found.add(json.dumps(served(client), sort_keys=True))
    return found


def reload(client: httpx.Client, **body: str) -> httpx.Response:
    return client.post("/models/reload", json=body)


def damage_the_model(models: Path, experiment: Path) -> str:
    del experiment
    file = models / "logistic/versions" / next_version(models).version / "model.json"
    file.write_bytes(file.read_bytes()[:-1])
    return f"{file} cannot be used: its checksum is not that of the metadata"


def versions_served(service: Service) -> set[str]:
    return {json.loads(said)["logistic"] for said in served_by_every_connection(service)}
