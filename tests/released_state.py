"""What a release leaves behind: real state, models and history, packed for the tests of later ones.

`make released` writes `tests/released/<version>.tar.xz`. Everything in it was written by the
service and the bridge of that version; `expected.json` was counted by the client that sent the
traffic, from the answers alone. `build-schema-1.tar.xz` is of the oldest build whose state has a
version: a state folder alone.
"""

import json
import math
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Self

import httpx
from model_versions import next_version
from service_process import ROOT, Service, children, running_service

from service import __version__

ARCHIVES = ROOT / "tests/released"
WRITTEN_IN = Path(tempfile.gettempdir()) / "ctr-released"
"""Where it is written: MLflow keeps whole paths."""
OLDEST_BUILD = ARCHIVES / "build-schema-1.tar.xz"
RELEASED = sorted(
    (path for path in ARCHIVES.glob("*.tar.xz") if path.name[0].isdecimal()),
    key=lambda path: [int(part) for part in path.name.split(".")[:3]],
)
INSTANCE = "host1"
WINDOW_SECONDS = 5
SETTINGS = {
    "CTR_INSTANCE": INSTANCE,
    "CTR_SNAPSHOT_INTERVAL": "1",
    "CTR_BRIDGE_WINDOW": str(WINDOW_SECONDS),
}
EXPERIMENT = """name = "released"
salt = "1"
[variants]
xgboost = 0.5
logistic = 0.5
"""
BASELINE = {
    "model_name": "logistic",
    "mean_prediction": 0.0234,
    "std_prediction": 0.0123,
    "mean_latency_ms": 45.6,
    "std_latency_ms": 12.3,
}
UNREACHABLE = "http://127.0.0.1:9"


@dataclass
class Told:
    """What a version of a model answered, and the clicks that were acknowledged."""

    predictions: int = 0
    sum_of_scores: float = 0.0
    clicks: int = 0


@dataclass
class Expected:
    """What the client that sent the traffic has counted."""

    version: str
    told: dict[str, Told] = field(default_factory=dict)
    """By model and version, with a space between."""
    clicked: list[str] = field(default_factory=list)
    """Prediction ids whose click was acknowledged."""
    unclicked: list[str] = field(default_factory=list)
    """Some whose click was not sent yet."""
    serving: dict[str, str] = field(default_factory=dict)
    """Version by model at the end."""
    ended: float = 0.0
    """Unix seconds."""

    @classmethod
    def read(cls, file: Path) -> Self:
        content: dict[str, Any] = json.loads(file.read_text())
        told = {name: Told(**counted) for name, counted in content["told"].items()}
        return cls(**{**content, "told": told})

    def of_answer(self, answer: Mapping[str, Any]) -> Told:
        """Where an answer is counted."""
        return self.told.setdefault(f"{answer['model_name']} {answer['model_version']}", Told())

    def of_model(self, model: str) -> Told:
        """All versions of a model."""
        versions = [told for name, told in self.told.items() if name.split()[0] == model]
        return Told(
            sum(told.predictions for told in versions),
            math.fsum(told.sum_of_scores for told in versions),
            sum(told.clicks for told in versions),
        )


@dataclass(frozen=True)
class Client:
    """Sends traffic and counts."""

    http: httpx.Client
    expected: Expected

    def predict(self, count: int, *, click: int = 0, keep: int = 0, model: str = "") -> None:
        """Send ``count`` requests in one batch; click on some, keep the ids of others."""
        request = {"device": "mobile", "placement": "header", "hour": 3, "day_of_week": 2}
        batch = [{**request, "user_id": f"u{i}", "ad_id": f"a{i % 7}"} for i in range(count)]
        path = "/predict_ctr/batch"
        answer = self.http.post(
            path, json={"requests": batch}, params={"model_name": model} if model else {}
        )
        answer.raise_for_status()
        said = answer.json()["predictions"]
        for one in said:
            told = self.expected.of_answer(one)
            told.predictions += 1
            told.sum_of_scores += one["predicted_ctr"]
        events = [{"prediction_id": one["prediction_id"], "clicked": True} for one in said[:click]]
        if events:
            taken = self.http.post("/feedback", json={"events": events}).raise_for_status().json()
            assert taken["accepted"] == click, taken
        for one in said[:click]:
            self.expected.of_answer(one).clicks += 1
            self.expected.clicked.append(one["prediction_id"])
        self.expected.unclicked += [one["prediction_id"] for one in said[click : click + keep]]


@contextmanager
def service_of(folder: Path, env: Mapping[str, str], *, workers: int = 2) -> Iterator[Service]:
    """Serve from what is in a folder."""
    experiment = {"CTR_EXPERIMENT_FILE": str(folder / "experiment.toml")}
    with running_service(
        folder / "var", folder / "models", env={**SETTINGS, **experiment, **env}, workers=workers
    ) as service:
        yield service


def bridge_of(
    folder: Path, *arguments: str, env: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a command of the bridge over what is in a folder."""
    own = {
        "CTR_STATE_DIR": str(folder / "var"),
        "CTR_MODELS_DIR": str(folder / "models"),
        "CTR_EXPERIMENT_FILE": str(folder / "experiment.toml"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.run(
        [sys.executable, "-m", "bridge", *arguments],
        cwd=folder,
        env={**os.environ, **SETTINGS, **own, **env},
        capture_output=True,
        text=True,
        check=False,
    )


def write(folder: Path) -> Expected:
    """Serve traffic from an empty folder and leave everything in it."""
    expected = Expected(__version__)
    (folder / "experiment.toml").write_text(EXPERIMENT)
    train = [sys.executable, str(ROOT / "scripts/train_models.py"), "--rows", "2000"]
    subprocess.run(
        [*train, "--output", str(folder / "models")], check=True, cwd=ROOT, capture_output=True
    )
    with service_of(folder, {}) as service, service.client() as http:
        client = Client(http, expected)
        client.predict(60, click=12, keep=3)
        for model in ("xgboost", "logistic"):
            client.predict(20, click=4, model=model)
        next_version(folder / "models")
        http.post("/models/reload").raise_for_status()
        http.post("/monitoring/baseline", json=BASELINE).raise_for_status()
        client.predict(40, click=5, keep=4)
        time.sleep(2 * WINDOW_SECONDS)  # Windows close.
        sent = bridge_of(folder, "send", env={})
        assert sent.returncode == 0, sent.stderr
    expected.serving = {
        file.parent.name: file.read_text().strip() for file in folder.glob("models/*/CURRENT")
    }
    with service_of(folder, {}) as service, service.client() as http:
        client = Client(http, expected)
        client.predict(30, click=6, keep=2)
        # What it counted is folded by the worker that comes after it.
        victim = children(service.process.pid)[0]
        os.kill(victim, 9)
        folded = folder / "var/metrics"
        while not any('"counter"' in file.read_text() for file in folded.glob("*/folded.json")):
            time.sleep(0.1)
        time.sleep(2 * WINDOW_SECONDS)
        # Frozen, and not sent.
        unsent = bridge_of(folder, "send", env={"MLFLOW_TRACKING_URI": UNREACHABLE})
        assert unsent.returncode == 1, unsent.stderr
        client.predict(25, click=3, keep=3)  # In the metrics files, and perhaps nowhere else.
    expected.ended = time.time()
    return expected


def unpack(archive: Path, folder: Path) -> Expected:
    """Lay out what a version left, as if it had always been in ``folder``."""
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    if (folder / "mlflow.db").exists():
        _move_artifacts(folder)
    return Expected.read(folder / "expected.json")


def _move_artifacts(folder: Path) -> None:
    # As whoever moves MLflow's database does.
    with closing(sqlite3.connect(folder / "mlflow.db")) as database, database:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            database.execute(
                f"UPDATE {table} SET {column} = replace({column}, ?, ?)",  # noqa: S608 - ours
                (str(WRITTEN_IN), str(folder)),
            )


def pack(folder: Path, archive: Path) -> None:
    """Pack a folder; the same files make the same archive."""
    with tarfile.open(archive, "w:xz", preset=9) as packed:
        for path in sorted(folder.rglob("*")):
            if not path.is_file():
                continue
            entry = tarfile.TarInfo(str(path.relative_to(folder)))
            content = path.read_bytes()
            entry.size, entry.mode = len(content), path.stat().st_mode & 0o777
            packed.addfile(entry, BytesIO(content))


def main() -> None:
    """Write the archive of this version."""
    WRITTEN_IN.mkdir(mode=0o700)
    try:
        expected = write(WRITTEN_IN)
        (WRITTEN_IN / "expected.json").write_text(json.dumps(asdict(expected), indent=1))
        # Copies of the models: files of runs are MLflow's own business.
        shutil.rmtree(WRITTEN_IN / "mlruns")
        for log in WRITTEN_IN.glob("*.log"):
            log.unlink()
        archive = ARCHIVES / f"{expected.version}.tar.xz"
        pack(WRITTEN_IN, archive)
        sys.stdout.write(f"{archive}: {archive.stat().st_size} bytes\n")
    finally:
        shutil.rmtree(WRITTEN_IN)


if __name__ == "__main__":
    main()
