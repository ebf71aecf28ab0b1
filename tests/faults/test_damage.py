"""Damaged files: each is refused in one line that names it, or set aside and counted."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from acknowledged_traffic import MODEL, REQUEST
from exposition import total
from service_process import ROOT, running_service

pytestmark = pytest.mark.integration

MORE = 30


class Lived(NamedTuple):
    """What a service leaves that was killed, and its models."""

    state: Path
    models: Path

    def copied(self, folder: Path) -> "Lived":
        state = shutil.copytree(self.state, folder / "state")
        return Lived(state, shutil.copytree(self.models, folder / "models"))

    def metrics(self, pattern: str) -> Path:
        (file,) = self.state.glob(f"metrics/*/{pattern}")
        return file

    def of_version(self, name: str) -> Path:
        (file,) = self.models.glob(f"{MODEL}/versions/*/{name}")
        return file


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> Lived:
    folder = tmp_path_factory.mktemp("lived")
    models = shutil.copytree(models_dir, folder / "models")
    with (
        running_service(folder / "state", models) as service,
        service.client() as client,
    ):
        for _ in range(MORE):
            client.post("/predict_ctr", json=REQUEST).raise_for_status()
        service.process.kill()
        service.process.wait()
    return Lived(folder / "state", models)


def garbled(file: Path, start: int = 0, end: int | None = None) -> None:
    """Replace bytes by others; the length stays."""
    content = bytearray(file.read_bytes())
    content[start:end] = bytes(255 - byte for byte in content[start:end])
    file.write_bytes(content)


def cut(file: Path) -> None:
    """Leave the first third, as a disk that was full did."""
    os.truncate(file, file.stat().st_size // 3)


REFUSED: dict[str, tuple[Callable[[Lived], Path], Callable[[Path], None], str]] = {
    "state": (lambda at: at.state / "state.db", garbled, "restore a backup, or move the file"),
    "pages": (
        *(lambda at: at.state / "state.db", lambda file: garbled(file, 4096)),
        "restore a backup, or move the file",
    ),
    "half a state": (lambda at: at.state / "state.db", cut, "restore a backup, or move the"),
    "key": (lambda at: at.state / "signing.key", cut, "restore it, or delete it"),
    "CURRENT": (
        *(lambda at: at.models / MODEL / "CURRENT", garbled),
        "write a version of the versions folder into it, or train again",
    ),
    "model": (lambda at: at.of_version("model.ubj"), cut, "train again, or roll back"),
    "features": (lambda at: at.of_version("features.json"), garbled, "train again, or roll"),
    "metadata": (lambda at: at.of_version("metadata.json"), cut, "train again, or roll back"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_done_without_is_refused_by_name_and_says_what_to_do(
    tmp_path: Path, lived: Lived, what: str
) -> None:
    find, damage, fix = REFUSED[what]
    mine = lived.copied(tmp_path)
    file = find(mine)
    damage(file)
    (mine.state / "state.db-wal").unlink(missing_ok=True)  # It would mend the pages.

    done = subprocess.run(
        [
            *(sys.executable, str(ROOT / "scripts" / "run_api.py"), "--port", "0"),
            *("--state-dir", str(mine.state), "--models-dir", str(mine.models)),
        ],
        env={**os.environ, "CTR_BRIDGE_ENABLED": "false"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert str(file.parent) in line
    assert fix in line


def test_what_can_be_done_without_is_set_aside_and_no_number_is_made_up(
    tmp_path: Path, lived: Lived
) -> None:
    """Pointer and plan of the last release, and the counters of one kind."""
    mine = lived.copied(tmp_path)
    cut(mine.state / "releases" / "pointer.json")
    garbled(mine.metrics("histogram_*.db"), 0, 200)

    with running_service(mine.state, mine.models) as service, service.client() as client:
        ever = client.get(f"/monitoring/stats?model_name={MODEL}&window=1h").json()
        client.post("/predict_ctr", json=REQUEST).raise_for_status()
        (file,) = service.state_dir.glob("metrics/*/folded.json")
        before = total(client, "ctr_requests_total")
        file.write_text(json.dumps({"files": []}))
        left_out = total(client, "ctr_metrics_unreadable_files")
        after = total(client, "ctr_requests_total")

    # Requests are counted in the file that is whole; how long they took is not known any more.
    assert 0 < ever["total_requests"] <= MORE
    assert ever["avg_latency_ms"] is None
    assert (left_out, before, after) == (1, 1, 1)
