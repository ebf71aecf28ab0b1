"""What is known against our packages is asked, or told that it was not; they are all listed."""

import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from ports import free_port
from service_process import ROOT

pytestmark = pytest.mark.integration

LOCKS = (
    *("requirements.txt", "requirements.lock"),
    *("requirements-bench.lock", "requirements-audit.lock"),
)


class Pin(NamedTuple):
    """An entry of a lock file."""

    name: str
    version: str
    applies: bool
    """Whether it is installed on this platform."""
    hashes: frozenset[str]


def pins(lock: str) -> Iterator[Pin]:
    text = (ROOT / lock).read_text().replace("\\\n", " ")
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        requirement = Requirement(line.partition(" --hash")[0])
        [version] = requirement.specifier
        yield Pin(
            canonicalize_name(requirement.name),
            version.version,
            requirement.marker is None or requirement.marker.evaluate(),
            frozenset(re.findall(r"--hash=sha256:(\w+)", line)),
        )


@dataclass
class Advisories:
    """A service that speaks OSV's protocol, and what it was asked."""

    url: str = ""
    asked: set[tuple[str, str]] = field(default_factory=set)
    known: dict[str, str] = field(default_factory=dict)
    """Id of an advisory by package."""
    silent_about: str = ""

    def answer(self, query: dict[str, Any]) -> dict[str, Any] | None:
        name, version = canonicalize_name(query["package"]["name"]), query["version"]
        self.asked.add((name, version))
        if name == self.silent_about:
            return None
        if name not in self.known:
            return {}
        package = {"name": name, "ecosystem": "PyPI"}
        affected = {
            "package": package,
            "versions": [version],
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99"}]}],
        }
        return {"vulns": [{"id": self.known[name], "summary": "a hole", "affected": [affected]}]}


@pytest.fixture
def advisories() -> Iterator[Advisories]:
    told = Advisories()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = told.answer(query)
            content = json.dumps(answer).encode()
            self.send_response(500 if answer is None else 200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        told.url = f"http://127.0.0.1:{server.server_port}/v1/query"
        yield told
        server.shutdown()


def run(script: str, argument: str) -> subprocess.CompletedProcess[str]:
    if not (ROOT / ".venv-audit/.installed").exists():
        reason = "the packages of requirements-audit.lock are missing: make audit"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return subprocess.run(
        [str(ROOT / "scripts" / script), argument],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_the_audit_asks_about_every_pinned_package_and_passes_where_nothing_is_known(
    advisories: Advisories,
) -> None:
    done = run("audit.sh", advisories.url)

    assert done.returncode == 0, done.stderr
    assert advisories.asked == {
        (pin.name, pin.version) for lock in LOCKS for pin in pins(lock) if pin.applies
    }


def test_the_audit_fails_and_names_what_is_known(advisories: Advisories) -> None:
    advisories.known["mlflow"] = "GHSA-test-test-test"

    done = run("audit.sh", advisories.url)

    assert done.returncode == 1
    assert re.search(r"mlflow +\S+ +GHSA-test-test-test +99", done.stdout)
    assert "replace these packages" in done.stderr


def test_the_audit_never_passes_where_it_could_not_ask_about_a_package(
    advisories: Advisories,
) -> None:
    advisories.silent_about = "numpy"

    done = run("audit.sh", advisories.url)

    assert done.returncode == 1
    assert f"NOT DONE, {advisories.url} could not be asked" in done.stderr


def test_the_audit_never_passes_where_nobody_answers() -> None:
    url = f"http://127.0.0.1:{free_port()}/v1/query"

    done = run("audit.sh", url)

    assert done.returncode == 1
    assert f"NOT DONE, {url} could not be asked" in done.stderr


def test_the_bill_of_materials_is_the_lock_file_of_the_image_and_reproducible(
    tmp_path: Path,
) -> None:
    files = [tmp_path / "one.json", tmp_path / "two.json"]
    for file in files:
        done = run("sbom.sh", str(file))
        assert done.returncode == 0, done.stderr
    one, two = (file.read_bytes() for file in files)
    bill = json.loads(one)

    listed = {
        (
            component["name"],
            component["version"],
            component["purl"].partition("?")[0],
            frozenset(
                found["content"]
                for reference in component["externalReferences"]
                for found in reference["hashes"]
            ),
        )
        for component in bill["components"]
    }
    locked = set(pins("requirements.txt"))
    assert one == two
    assert (bill["bomFormat"], bill["metadata"]["component"]["name"]) == (
        "CycloneDX",
        "ctr-monitor",
    )
    assert listed == {
        (pin.name, pin.version, f"pkg:pypi/{pin.name}@{pin.version}", pin.hashes) for pin in locked
    }
    licensed = {component["name"] for component in bill["components"] if "licenses" in component}
    assert len(licensed) > 0.9 * sum(pin.applies for pin in locked)
    [of_fastapi] = [c["licenses"] for c in bill["components"] if c["name"] == "fastapi"]
    assert of_fastapi == [{"expression": "MIT"}]
