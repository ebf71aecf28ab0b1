"""docker-compose.yml as Docker Compose resolves it, and what the Dockerfile adds; no engine."""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from service_process import ROOT

FILE = ROOT / "docker-compose.yml"
DOCKERFILE = ROOT / "Dockerfile"
PROGRAM = "usr/libexec/docker/cli-plugins/docker-compose"
IMAGE = "ctr-monitor:0.1.0"
"""Built from the Dockerfile; service, bridge, training and MLflow run it."""
SECRETS = {
    name: f"{number:02}secret0of0the0tests0secret0of0the0tests"
    for number, name in enumerate(
        re.findall(r"^([A-Z_]+)=$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    )
}


def find_compose() -> Path | None:
    """Compose 2 of this folder, or of the system."""
    found = (base / PROGRAM for base in (ROOT / ".tools", Path("/")))
    return next((path for path in found if path.exists()), None)


def run_compose(
    program: Path, folder: Path, text: str, secrets: Mapping[str, str] = SECRETS
) -> subprocess.CompletedProcess[str]:
    """Resolve a compose file that stands for the project's; nothing else is read."""
    (folder / "compose.yml").write_text(text)
    (folder / "secrets").write_text("".join(f"{name}={value}\n" for name, value in secrets.items()))
    return subprocess.run(
        [
            *(
                str(program),
                "--project-directory",
                str(ROOT),
                "--file",
                str(folder / "compose.yml"),
            ),
            *("--env-file", str(folder / "secrets"), "config", "--format", "json"),
        ],
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def resolve(program: Path, folder: Path, text: str) -> dict[str, Any]:
    """Return the resolved file, which must be right."""
    done = run_compose(program, folder, text)
    assert done.returncode == 0, done.stderr
    config: dict[str, Any] = json.loads(done.stdout)
    return config


def instructions() -> list[tuple[str, str]]:
    """Instructions of the Dockerfile's last stage, such as ``("WORKDIR", "/app")``."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#")]
    text = re.sub(r"\\\n\s*", "", "\n".join(lines))
    found = [line.split(maxsplit=1) for line in text.splitlines() if line]
    parsed = [(words[0], words[1]) for words in found]
    last = max(i for i, (name, _) in enumerate(parsed) if name == "FROM")
    return parsed[last:]


def image_environment() -> dict[str, str]:
    """What the Dockerfile's ENV says."""
    return dict(
        assignment.split("=", 1)
        for name, value in instructions()
        if name == "ENV"
        for assignment in shlex.split(value)
    )


def image_health_check() -> list[str]:
    """Return the command of the Dockerfile's HEALTHCHECK."""
    [value] = [value for name, value in instructions() if name == "HEALTHCHECK"]
    command: list[str] = json.loads(value.partition("CMD ")[2])
    return command


def copy_into(folder: Path) -> None:
    """Copy what the Dockerfile's last stage copies, as .dockerignore lets it through."""
    allowed = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    for name, value in instructions():
        if name != "COPY" or value.startswith("--from"):
            continue
        *sources, target = value.split()
        for source in sources:
            assert source in allowed, f".dockerignore keeps {source} out"
            path = ROOT / source
            if path.is_dir():
                shutil.copytree(path, folder / target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                (folder / target).mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, folder / target)
