"""Generated rules and routes, judged by promtool and amtool; their tests, judged by faults."""

import shutil
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from rule_mutants import Mutant, mutants
from service_process import ROOT

from deploy.alerting.files import rule_groups
from deploy.alerting.pace import PRODUCTION, REHEARSAL
from deploy.alerting.rules import Group
from deploy.alerting.yaml_text import yaml_text

FOLDER = ROOT / "deploy/prometheus"
EXAMPLES = sorted((FOLDER / "examples").glob("*.yml"))

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def promtool(tool: Callable[[str, str], str]) -> str:
    return tool("promtool", "prometheus")


@pytest.fixture(scope="module")
def amtool(tool: Callable[[str, str], str]) -> str:
    return tool("amtool", "prometheus-alertmanager")


def run(*command: str | Path, cwd: Path = FOLDER) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False
    )


def test_prometheus_accepts_configuration_and_rules(promtool: str) -> None:
    for name in ("prometheus.yml", "prometheus.compose.yml"):
        checked = run(promtool, "check", "config", name)

        assert checked.returncode == 0, checked.stdout + checked.stderr
    checked = run(promtool, "check", "rules", "--lint=all", "--lint-fatal", *rule_paths(FOLDER))
    assert checked.returncode == 0, checked.stdout + checked.stderr


def rule_paths(folder: Path) -> list[Path]:
    return sorted((folder / "rules").glob("*.yml"))


def test_prometheus_accepts_the_rules_of_a_rehearsal(promtool: str, tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    for name, groups in rule_groups(REHEARSAL).items():
        write_rules(tmp_path / "rules" / name, groups)

    checked = run(promtool, "check", "rules", *rule_paths(tmp_path))

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_alerts_fire_and_stay_silent_as_they_should(promtool: str) -> None:
    tested = run(promtool, "test", "rules", *sorted((FOLDER / "tests").glob("*.yml")))

    assert tested.returncode == 0, tested.stdout + tested.stderr


def write_rules(path: Path, groups: Sequence[Group]) -> None:
    path.write_text(yaml_text({"groups": [group.as_yaml() for group in groups]}))


def judges_of(file: str, *, likely: str) -> Sequence[str]:
    """Name the tests of a rule file; first those of the group in which a fault is sought."""
    severity = likely.rpartition("_")[2]
    names = [path.name for path in (FOLDER / "tests").glob(f"{file.removesuffix('.yml')}*.yml")]
    return sorted(names, key=lambda name: (severity not in name, name))


@pytest.mark.parametrize("file", list(rule_groups(PRODUCTION)))
def test_a_fault_in_a_rule_makes_a_test_fail(promtool: str, tmp_path: Path, file: str) -> None:
    found = list(mutants(rule_groups(PRODUCTION)[file]))
    assert len(found) > 10

    def survives(number: int, mutant: Mutant) -> bool:
        folder = tmp_path / str(number)
        shutil.copytree(FOLDER / "tests", folder / "tests")
        (folder / "rules").mkdir()
        write_rules(folder / "rules" / file, mutant.groups)
        return all(
            run(promtool, "test", "rules", test, cwd=folder / "tests").returncode == 0
            for test in judges_of(file, likely=mutant.group)
        )

    with ThreadPoolExecutor(2) as pool:
        alive = pool.map(survives, range(len(found)), found)

    assert [mutant.fault for mutant, lives in zip(found, alive, strict=True) if lives] == []


@pytest.mark.parametrize("path", [FOLDER / "alertmanager.yml", *EXAMPLES], ids=lambda p: p.stem)
def test_alertmanager_accepts_the_routes(amtool: str, path: Path) -> None:
    checked = run(amtool, "check-config", path)

    assert checked.returncode == 0, checked.stdout + checked.stderr


PERSISTS = ("alertname=CtrDriftPersists", "severity=ticket")


@pytest.mark.parametrize(
    ("example", "labels", "receivers"),
    [
        ("slack", ("alertname=CtrTargetDown", "severity=page"), "page"),
        ("slack", ("alertname=CtrDrift", "severity=ticket"), "ticket"),
        ("email", ("alertname=CtrModelDegraded", "severity=page", "model=xgboost"), "page"),
        ("email", ("alertname=SomebodyElses",), "ticket"),
        ("retraining", ("alertname=CtrTargetDown", "severity=page"), "page"),
        ("retraining", ("alertname=CtrDrift", "severity=ticket"), "ticket"),
        ("retraining", (*PERSISTS, "quantity=latency"), "ticket"),
        ("retraining", (*PERSISTS, "quantity=predictions"), "retraining,ticket"),
    ],
)
def test_an_alert_goes_to_its_receiver(
    amtool: str, example: str, labels: tuple[str, ...], receivers: str
) -> None:
    config = FOLDER / f"examples/alertmanager.{example}.yml"

    routed = run(
        *(amtool, "config", "routes", "test", "--config.file", config),
        *("--verify.receivers", receivers, *labels),
    )

    assert routed.returncode == 0, routed.stdout + routed.stderr
