"""README and docs say what the code says."""

import ast
import inspect
import re
import shutil
import subprocess
import tomllib
from enum import StrEnum
from itertools import pairwise
from pathlib import Path

import documents
import pytest
from documents import DOCS, PAGES, README, ROOT, headings
from markdown_tables import rows
from pydantic.fields import FieldInfo

from service.monitoring import catalogue
from service.settings import Settings, variable


def code(page: Path) -> str:
    """Return everything that the page shows as code."""
    return "\n".join(shown.text for shown in documents.code(page))


def test_the_metrics_page_lists_the_catalogue() -> None:
    assert rows(DOCS / "metrics.md", "name") == [
        [
            f"`{metric.name}`",
            metric.kind,
            metric.unit,
            ", ".join(f"`{label}`" for label in metric.labels),
            metric.meaning,
        ]
        for metric in catalogue.CATALOGUE
    ]


@pytest.mark.parametrize(
    ("label", "values"),
    [
        ("outcome", catalogue.Outcome),
        ("error_type", catalogue.ErrorType),
        ("reason", catalogue.Rejection),
        ("result", catalogue.FeedbackResult),
    ],
)
def test_the_metrics_page_lists_the_values_of_a_label(label: str, values: type[StrEnum]) -> None:
    described = dict(rows(DOCS / "metrics.md", "label"))

    assert described[f"`{label}`"] == ", ".join(f"`{value}`" for value in values)


def test_every_label_is_described() -> None:
    used = {label for metric in catalogue.CATALOGUE for label in metric.labels} | {"le"}

    assert {label.strip("`") for label, _ in rows(DOCS / "metrics.md", "label")} == used


def test_every_metric_named_anywhere_exists() -> None:
    exposed = {metric.name for metric in catalogue.CATALOGUE} | {
        f"{metric.name}_{part}"
        for metric in catalogue.CATALOGUE
        if metric.bounds
        for part in ("bucket", "sum", "count")
    }
    named = {name for page in PAGES for name in re.findall(r"(?<!:)\bctr_[a-z_]+[a-z]", code(page))}

    assert named - {"ctr_prediction_production"} <= exposed


def meanings() -> dict[str, str]:
    """What the source says below each setting."""
    [settings] = ast.parse(inspect.getsource(Settings)).body
    assert isinstance(settings, ast.ClassDef)
    found = {}
    for before, after in pairwise(settings.body):
        match before, after:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                found[name] = text.replace("``", "`")
    return found


def default(field: FieldInfo) -> str:
    """Cell of a default; one that is found out at the start is told by the meaning instead."""
    known = field.default_factory is None and field.default not in {None, ""}
    return f"`{field.default}`" if known else ""


def test_the_readme_lists_the_settings() -> None:
    assert rows(README, "variable") == [
        [f"`{variable(name)}`", default(field), meanings()[name]]
        for name, field in Settings.model_fields.items()
    ]


def test_every_variable_named_anywhere_is_a_setting() -> None:
    known = {variable(name) for name in Settings.model_fields}
    named = {name for page in PAGES for name in re.findall(r"\bCTR_[A-Z_]+[A-Z]", page.read_text())}

    assert named - {"CTR_PROT"} <= known  # the misspelling that one decision is about


def test_every_relative_link_leads_somewhere() -> None:
    links = [
        (page, link)
        for page in [*PAGES, ROOT / "CHANGELOG.md"]
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text())
        if "://" not in link
    ]
    assert links

    for page, link in links:
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in headings(target), f"{page.name}: {link}"


def test_every_file_named_is_there() -> None:
    named = {
        (page.name, name)
        for page in PAGES
        for name in re.findall(
            r"(?<![\w./])((?:deploy|docs|scripts|service|tests)/[\w./-]*)", code(page)
        )
    }
    assert named

    assert [(page, name) for page, name in sorted(named) if not (ROOT / name).exists()] == []


def test_the_architecture_page_describes_every_room() -> None:
    described = {room.strip("`") for room, _ in rows(DOCS / "architecture.md", "room")}

    rooms = {f"service/{init.parent.name}/" for init in (ROOT / "service").glob("*/__init__.py")}
    assert rooms <= described


def test_every_make_target_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"\bmake ([a-z-]+)", code(page))}

    assert {"run", "test"} <= named <= targets


def test_every_fault_names_the_test_that_injects_it_and_every_such_test_is_named() -> None:
    named = [cells[-1].strip("`") for cells in rows(DOCS / "reliability.md", "fault")]
    injected = {
        test for file in (ROOT / "tests/faults").glob("test_*.py") for test in names_of_tests(file)
    }

    assert {test for name in named for test in names_of_tests(ROOT / name.split("::")[0])} >= set(
        named
    )
    assert injected <= set(named)


def names_of_tests(file: Path) -> set[str]:
    """Names of the tests of a file, as pytest is told them."""
    return {
        f"{file.relative_to(ROOT)}::{statement.name}"
        for statement in ast.parse(file.read_text()).body
        if isinstance(statement, ast.FunctionDef) and statement.name.startswith("test_")
    }


def test_the_dependencies_page_lists_the_pins() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    pins = [
        *project["project"]["dependencies"],
        *(pin for extra in project["project"]["optional-dependencies"].values() for pin in extra),
        *(pin for group in project["dependency-groups"].values() for pin in group),
    ]
    listed = rows(DOCS / "dependencies.md", "requirement")

    assert sorted(pin.strip("`") for pin, _ in listed) == sorted(pins)
    assert all(reason for _, reason in listed)


def test_make_check_runs_every_check_and_no_target_is_defined_twice() -> None:
    make = shutil.which("make")
    assert make is not None
    dry = subprocess.run(
        [make, "--dry-run", "--always-make", "check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert dry.stderr == ""  # make only warns of a recipe that replaces another
    for command in (
        "ruff format --check",
        "ruff check",
        "mypy",
        "lint-imports",
        "uv pip compile",
        "deploy.dashboards --check",
        "deploy --check",
    ):
        assert command in dry.stdout
    assert re.findall(r"^make (.*)$", (ROOT / ".ci/run").read_text(), re.MULTILINE) == [
        "check",
        "test",
    ]
