"""Every command of README and docs works; so does everything else that they show as code.

The pages are read from top to bottom in the folder of somebody who has started the service. What
a page gives to a shell is given to a shell, what it shows as an answer is held against the answer.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from documented_names import see_that_names_exist
from documents import DOCS, PAGES, ROOT, Code, code, lacking
from markdown_tables import rows
from operator_folder import START, OperatorFolder, operator_folder
from prometheus_server import Prometheus, scraping_prometheus

from service.prediction.experiment import Experiment

pytestmark = pytest.mark.integration


class Unexecuted(NamedTuple):
    """A command that cannot run in a test."""

    begins: str
    because: str
    instead: str


SERVERS = {
    "python scripts/run_api.py": " at http://",
    "CTR_FAULTS=": " at http://",
    "CTR_API_TOKEN=": " at http://",
    "python -m deploy.retraining": "retraining on drift at ",
    "prometheus ": "Server is ready",
    "prometheus-alertmanager ": "Completed loading of configuration file",
}
"""Commands that run until they are stopped, by how they begin; what they say when they serve."""
ADDED = {
    "python scripts/train_models.py\n": "--rows 2000 --output var/models",
    "python scripts/test_monitoring.py": "--url http://127.0.0.1:8000",
    "python -m deploy.retraining": "--port 0",
    "prometheus ": "--web.listen-address=127.0.0.1:9090",
    "prometheus-alertmanager ": "--web.listen-address=127.0.0.1:9093 --cluster.listen-address=",
}
"""What makes a command small, or names its usual port, which becomes one that is free."""
WAITING = {
    "curl -X POST 'http://127.0.0.1:8000/monitoring/baseline/": OperatorFolder.have_traffic,
    "python -m service replay --since": OperatorFolder.wait_for_a_tick,
    "python -m bridge ": OperatorFolder.wait_for_history,
    "python example.py": OperatorFolder.wait_for_history,
}
"""Commands for which the service must have been there for some seconds."""
UNEXECUTED = [
    Unexecuted("make test", "it is what runs this", "the target exists"),
    Unexecuted("make nightly", "takes an hour", "the target exists"),
    Unexecuted("make demo", "goes on for six minutes", "tests of its own play the story faster"),
    Unexecuted("make fuzz", "goes on for minutes", "tests/integration/test_fuzzing.py"),
    Unexecuted("python -m fuzz", "searches", "tests/integration/test_fuzzing.py"),
    Unexecuted("make ui", "MLflow's server takes its time", "tests/integration/test_mlflow_ui.py"),
    Unexecuted(
        "mlflow ui", "MLflow's server takes its time", "tests/integration/test_mlflow_ui.py"
    ),
    Unexecuted("mlflow gc", "deletes for good", "MLflow's own; was tried with the pinned release"),
    Unexecuted("python -m benchmarks.", "takes minutes to hours", "modules and flags exist"),
    Unexecuted("python3 -m venv", "installs from the network", "scripts/install.sh does as much"),
    Unexecuted("pip install", "installs from the network", "scripts/install.sh does as much"),
    Unexecuted(
        "docker ",
        "there is no container engine",
        "containers exist; tests/integration/test_compose.py",
    ),
    Unexecuted("kubectl ", "there is no cluster", "tests/unit/test_kubernetes.py"),
]
LANGUAGES = {"sh", "json", "toml", "promql", "python", "text", "mermaid"}
PROGRAMS = {
    "curl",
    "df",
    "docker",
    "free",
    "kubectl",
    "ls",
    "make",
    "mlflow",
    "pgrep",
    "promtool",
    "python",
}
"""First words by which code in a sentence is known as a command."""
LATER = {"drift.md", "operations.md", "releases.md", "training.md"}
"""Pages that need what drift says after a quarter of a minute, or leave another version."""
IN_ORDER = sorted(PAGES, key=lambda page: page.name in LATER)
TOOLS = {
    "curl": "curl",
    "make": "make",
    "ps": "procps",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "promtool": "prometheus",
}
"""Programs that pages take for granted, and their Debian packages."""
ENDPOINT = re.compile(r"(GET|POST) (/[^?\s]*)(?:\?(\S*))?")
CHECKED = {"make", "python"}
"""Of these, those in a sentence are not executed, as they take seconds each."""
SAYING = ("bridge", "deploy", "service")
PLACEHOLDER = re.compile(r"\.\.\.|\b(FILE|FOLDER|HOST|N|NAME|PID|URI|URL|VERSION)\b")


@pytest.fixture(scope="module")
def folder(
    tool: Callable[[str, str], str], tmp_path_factory: pytest.TempPathFactory, models_dir: Path
) -> Iterator[OperatorFolder]:
    for program, package in TOOLS.items():
        tool(program, package)
    if not (ROOT / ".venv/.installed").exists():
        pytest.skip("make has installed nothing here: make run")
    with operator_folder(tmp_path_factory.mktemp("operator") / "ctr", models_dir) as made:
        yield made


@pytest.fixture(scope="module")
def prometheus(
    tool: Callable[[str, str], str],
    tmp_path_factory: pytest.TempPathFactory,
    folder: OperatorFolder,
) -> Iterator[Prometheus]:
    binary = tool("prometheus", "prometheus")
    target = folder.url.removeprefix("http://")
    with scraping_prometheus(binary, tmp_path_factory.mktemp("scraped"), [target]) as server:
        yield server


def is_command(shown: Code) -> bool:
    words = shown.text.split()
    return shown.language == "sh" or (
        not shown.language and words[0] in PROGRAMS and len(words) > 1
    )


def unexecuted(command: Code) -> bool:
    return any(command.text.startswith(known.begins) for known in UNEXECUTED)


def all_commands() -> Iterator[Code]:
    for page in PAGES:
        for shown in code(page):
            if is_command(shown):
                yield from shown.commands()


def test_every_fence_says_what_it_holds() -> None:
    for page in PAGES:
        for shown in code(page):
            assert not shown.language or shown.language in LANGUAGES, shown.place
            assert "```" not in shown.text, f"{shown.place}: a fence begins in the first column"
        fences = sum(bool(shown.language) for shown in code(page))
        assert page.read_text().count("```") == 2 * fences, f"{page}: a fence has no language"


def test_what_is_said_about_commands_is_about_some() -> None:
    begins = [*SERVERS, *ADDED, START, *(known.begins for known in UNEXECUTED)]

    found = [f"{command.text}\n" for command in all_commands()]

    assert [b for b in begins if not any(text.startswith(b) for text in found)] == []


def test_every_message_that_is_explained_is_said() -> None:
    sources = [
        *(path for folder in SAYING for path in (ROOT / folder).rglob("*.py")),
        *(ROOT / "scripts").iterdir(),
        ROOT / "Makefile",
    ]
    said = "\n".join(path.read_text() for path in sources if path.is_file())
    explained = [row[0].strip("`") for row in rows(DOCS / "troubleshooting.md", "message")]

    assert [message for message in explained if message not in said] == []


@pytest.mark.parametrize("page", IN_ORDER, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_shows_as_code_works(
    page: Path, folder: OperatorFolder, request: pytest.FixtureRequest
) -> None:
    answer = ""
    for shown in code(page):
        match shown.language:
            case "sh":
                for command in shown.commands():
                    answer = execute(command, folder)
            case "json":
                assert lacking(json.loads(shown.text), json.loads(answer)) == [], shown.place
            case "toml":
                (folder.path / "experiment.toml").write_text(shown.text)
                Experiment.load(folder.path / "experiment.toml", models=("xgboost", "logistic"))
            case "python":
                (folder.path / "example.py").write_text(shown.text)
                execute(replace(shown, text="python example.py"), folder)
            case "promql":
                request.getfixturevalue("prometheus").query(shown.text)
            case "":
                in_a_sentence(shown, folder)


def in_a_sentence(shown: Code, folder: OperatorFolder) -> None:
    """What is quick is executed; of the rest everything that is named must exist."""
    if endpoint := ENDPOINT.fullmatch(shown.text):
        assert folder.answers(*endpoint.groups("")), shown.place
    elif is_command(shown):
        if shown.text.split()[0] in CHECKED or PLACEHOLDER.search(shown.text):
            see_that_names_exist(shown)
        else:
            execute(shown, folder)


def execute(command: Code, folder: OperatorFolder) -> str:
    """Give it to the shell and return what it printed; a server is started and stopped."""
    if command.text == START:
        return ""  # It is what the folder begins with.
    if unexecuted(command):
        see_that_names_exist(command)
        return ""
    before, dashes, after = command.text.partition(" -- ")
    text = f"{before} {what(ADDED, command)}{dashes}{after}"
    if says := what(SERVERS, command):
        other = {"CTR_PORT": "0", "CTR_STATE_DIR": "var/other", "CTR_BRIDGE_ENABLED": "false"}
        with folder.running(text, says, **other):
            return ""
    for begins, wait in WAITING.items():
        if command.text.startswith(begins):
            wait(folder)
    ran = folder.run(text)
    assert ran.returncode == 0, f"{command.place}: {command.text}\n{ran.stdout}{ran.stderr}"
    return ran.stdout


def what(table: Mapping[str, str], command: Code) -> str:
    """Look up how a command begins."""
    return next((table[b] for b in table if f"{command.text}\n".startswith(b)), "")
