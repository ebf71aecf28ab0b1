"""The Dockerfile: hadolint accepts it, planted faults are found, nothing superfluous is copied."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from compose_file import DOCKERFILE, IMAGE, copy_into, instructions
from service_process import ROOT

pytestmark = pytest.mark.integration


def hadolint(text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).parent / "hadolint"), "--no-color", "-"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_hadolint_finds_nothing() -> None:
    done = hadolint(DOCKERFILE.read_text())

    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        (":3.11.14-slim-trixie", ":latest", "DL3007"),
        (":3.11.14-slim-trixie", "", "DL3006"),
        ("WORKDIR /app", "WORKDIR app", "DL3000"),
        ("--no-cache-dir ", "", "DL3042"),
        ("EXPOSE 8000", "EXPOSE 80000", "DL3011"),
        ('CMD ["python", "scripts/run_api.py"]', "CMD python scripts/run_api.py", "DL3025"),
        ("COPY service ./service", "ADD service ./service", "DL3020"),
        ("--from=packages", "--from=package", "DL3022"),
        ("USER 10001:10001", "USER root", "DL3002"),
        ("EXPOSE 8000", "EXPOSED 8000", "missing whitespace"),
    ],
)
def test_hadolint_finds_a_planted_fault(old: str, new: str, rule: str) -> None:
    text = DOCKERFILE.read_text()
    assert old in text

    done = hadolint(text.replace(old, new))

    assert done.returncode != 0
    assert rule in done.stdout + done.stderr


def test_the_image_has_the_programs_and_nothing_else(tmp_path: Path) -> None:
    copy_into(tmp_path)

    assert {path.name for path in tmp_path.iterdir()} == {
        *("bridge", "docs", "service", "scripts", "experiment.toml"),
    }
    suffixes = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    page = {".css", ".html", ".js", ".svg"}
    assert suffixes <= {".py", ".json", ".toml", ".typed", ".md", *page}
    assert [path.name for path in (tmp_path / "docs").iterdir()] == ["runbooks"]


def test_the_last_stage_is_slim_and_without_a_compiler() -> None:
    names = [name for name, _ in instructions()]
    text = "\n".join(value for _, value in instructions())

    assert instructions()[0] == ("FROM", "python:3.11.14-slim-trixie")
    assert not re.search(r"\b(apt-get|pip|uv|gcc|curl)\b", text)
    assert names.index("USER") > max(i for i, name in enumerate(names) if name == "COPY")


def test_the_image_bears_the_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert f"{project['name']}:{project['version']}" == IMAGE
    for manifest in (ROOT / "deploy/kubernetes").rglob("*.yaml"):
        for image in re.findall(r"image: (\S+)", manifest.read_text()):
            assert image == f"registry.example/{IMAGE}"
