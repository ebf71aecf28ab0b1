"""The running service over PostgreSQL, and over a store that goes away."""

import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from exposition import total
from postgres import PASSWORD, PostgreSQL, find_programs, running_postgres
from prometheus_server import wait_until
from service_process import running_service

from service.sources.stored_windows import StoredWindows
from service.state.store import open_state

REQUEST = {
    "user_id": "u",
    "ad_id": "a",
    "device": "mobile",
    "placement": "header",
    "hour": 1,
    "day_of_week": 1,
}

pytestmark = pytest.mark.integration


@pytest.fixture
def own_postgres(postgres: PostgreSQL) -> Iterator[PostgreSQL]:
    """A server that the test may stop; ``postgres`` has made sure that there can be one."""
    del postgres
    programs = find_programs()
    assert programs is not None
    with running_postgres(programs) as server:
        yield server


def predict(client: httpx.Client, count: int) -> None:
    for _ in range(count):
        answer = client.post("/predict_ctr", params={"model_name": "xgboost"}, json=REQUEST)
        assert answer.status_code == 200


def requests(client: httpx.Client, window: str) -> int:
    stats = client.get(f"/monitoring/stats?model_name=xgboost&window={window}").json()
    return int(stats["total_requests"])


def test_history_and_baselines_survive_in_postgresql(
    tmp_path: Path, models_dir: Path, postgres: PostgreSQL
) -> None:
    env = {
        "CTR_STATE_URL": postgres.create_database(f"service_{uuid.uuid4().hex}"),
        "CTR_SNAPSHOT_INTERVAL": "1",
        "CTR_INSTANCE": "test",
    }
    for life in range(2):
        with (
            running_service(tmp_path / "state", models_dir, env=env, workers=2) as service,
            service.client() as client,
        ):
            predict(client, 10)
            assert requests(client, "1h") == 10 * (life + 1)
            client.post("/monitoring/baseline/xgboost/capture?window=1h")
            before = client.get("/monitoring/baseline/xgboost").json()
            body = {
                "model_name": "xgboost",
                "mean_prediction": 0.02,
                "std_prediction": 0.01,
                "mean_latency_ms": 5,
                "std_latency_ms": 1,
            }
            client.post("/monitoring/baseline", json=body)
    assert (before["source"], before["revision"]) == ("request", 1)


def test_another_name_begins_with_nothing(tmp_path: Path, models_dir: Path) -> None:
    for name in ("one", "two"):
        began = time.time()
        env = {"CTR_INSTANCE": name}
        with running_service(tmp_path, models_dir, env=env) as service, service.client() as client:
            predict(client, 10)

    with open_state(tmp_path / "state.db") as state:
        windows = StoredWindows(state.history("instance:two"))
        span = state.history("instance:two").span()
        assert span is not None
        assert span[0] >= began
        assert windows.between(0, began) is None


def test_predictions_go_on_while_the_store_is_down_and_nothing_is_missing_after(
    tmp_path: Path, models_dir: Path, own_postgres: PostgreSQL
) -> None:
    env = {
        "CTR_STATE_URL": own_postgres.create_database("service"),
        "CTR_SNAPSHOT_INTERVAL": "1",
        "CTR_INSTANCE": "test",
    }
    with (
        running_service(tmp_path / "state", models_dir, env=env) as service,
        service.client() as client,
    ):
        predict(client, 10)
        own_postgres.stop()
        predict(client, 20)
        down = client.get("/monitoring/health")
        counted = total(client, "ctr_requests_total", model="xgboost")
        own_postgres.start()

        def answers_again() -> bool:
            return client.get("/monitoring/health").status_code == 200

        wait_until(answers_again, seconds=30, what="the store is back")
        after = requests(client, "1h")

    assert counted == after == 30
    assert down.status_code == 503
    assert int(down.headers["retry-after"]) > 0
    assert down.headers["content-type"] == "application/problem+json"
    assert PASSWORD not in down.text
