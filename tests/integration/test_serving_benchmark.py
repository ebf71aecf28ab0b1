"""The benchmark of serving measures everything, and says nothing where an answer failed."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from benchmarks.serving.load import LoadFailedError, Traffic, load
from benchmarks.serving.servers import Server

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def _wrk(tool: Callable[[str, str], str]) -> None:
    tool("wrk", "wrk")


class Failing(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        status = 503 if self.path == "/sick" else 200
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its parameter
        """Nothing to say."""


@pytest.fixture
def server() -> Iterator[Server]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Failing) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield Server("test", f"127.0.0.1:{http.server_port}", pid=1, ready_after_seconds=0.0)
        http.shutdown()
        thread.join()


def test_answers_are_counted(server: Server) -> None:
    measured = load(server, Traffic("/", connections=2), seconds=1)

    assert measured.requests > 100
    assert 0 < measured.p50_ms <= measured.p99_ms <= measured.p999_ms


def test_an_answer_that_is_no_success_voids_a_measurement(server: Server) -> None:
    with pytest.raises(LoadFailedError, match="status"):
        load(server, Traffic("/sick", connections=2), seconds=1)


def test_a_server_that_is_gone_voids_a_measurement() -> None:
    gone = Server("gone", "127.0.0.1:9", pid=1, ready_after_seconds=0.0)

    with pytest.raises(LoadFailedError):
        load(gone, Traffic("/", connections=2), seconds=1)


def test_the_quick_form_measures_what_does_not_take_minutes(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    command = [sys.executable, "-m", "benchmarks.serving", "--quick", "--json", str(results)]
    parts = ["throughput", "recording", "anatomy", "batches", "evaluation", "starting"]
    done = subprocess.run(
        [*command, "--models", str(tmp_path / "models"), "--only", *parts],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr

    rows = json.loads(results.read_text())["rows"]
    missing = {row["what"] for row in rows if row["value"] is None}
    # The one package that only `make bench` installs.
    assert missing <= {"`/predict_ctr` requests/s against the typical service"}
    assert len({row["part"] for row in rows}) == len(parts) - 1  # one is a table without goals
    assert all(row["value"]["median"] > 0 for row in rows if row["value"] is not None)
