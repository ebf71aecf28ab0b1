"""The OpenAPI document and the service that has it are held against each other by schemathesis.

What it asks, and by which checks it judges the answers, is in ``fuzz/openapi.toml``.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from model_versions import next_version
from service_process import ROOT, Service, running_service

TOKEN = "only-who-knows-it-changes-anything"  # noqa: S105 - of this service alone
AUTHORISED = {"Authorization": f"Bearer {TOKEN}"}
EXAMPLES = "15"
"""Of an endpoint, in each of valid and invalid requests; beside those for every keyword of it."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> Iterator[Service]:
    """A service that can be asked for everything, a way back to an earlier model included."""
    own = shutil.copytree(models_dir, tmp_path_factory.mktemp("disposable") / "models")
    state_dir = tmp_path_factory.mktemp("state")
    with running_service(state_dir, own, env={"CTR_API_TOKEN": TOKEN}) as running:
        next_version(own)
        with running.client() as client:
            assert client.post("/models/reload", headers=AUTHORISED).status_code == 200
        yield running


def asked_by_schemathesis(service: Service, work_dir: Path, *flags: str) -> tuple[int, str]:
    """Exit status and report of a run."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli"),
            *("--config-file", str(ROOT / "fuzz" / "openapi.toml")),
            *("run", f"{service.url}/openapi.json", "--no-color"),
            *("--header", f"Authorization: Bearer {TOKEN}"),
            *flags,
        ],
        # Where it may leave what it remembers.
        cwd=work_dir,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.integration
def test_every_answer_is_one_that_the_document_has(service: Service, tmp_path: Path) -> None:
    examples = os.environ.get("OPENAPI_EXAMPLES", EXAMPLES)

    status, report = asked_by_schemathesis(service, tmp_path, "--max-examples", examples)

    assert status == 0, report
    assert "Traceback" not in service.log()
    print(report)


@pytest.mark.integration
def test_a_service_that_differs_from_its_document_is_found_out(
    tmp_path: Path, models_dir: Path
) -> None:
    # Without a token it asks nobody on this machine for one, which its document says that it does.
    with running_service(tmp_path / "state", models_dir) as open_to_all:
        status, report = asked_by_schemathesis(
            open_to_all, tmp_path, "--include-path=/feedback", "--phases=examples,coverage"
        )

    assert status == 1
    assert "API accepts requests without authentication" in report


@pytest.mark.integration
def test_what_is_answered_before_an_endpoint_is_asked_is_in_the_document_of_each(
    service: Service,
) -> None:
    with service.client() as client:
        paths = client.get("/openapi.json").json()["paths"]

    for path, operations in paths.items():
        for operation in operations.values():
            answers = set(operation["responses"])
            assert "414" in answers
            assert "503" in answers or path in {"/healthz", "/readyz", "/metrics"}
