"""All checks, in the order in which their causes hide each other."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from bridge.doctor import server as servers
from bridge.doctor import store as stores
from bridge.doctor.findings import Finding, Level, ok, problem, skipped, warning
from bridge.doctor.own_state import examine_state
from bridge.tracking import Records, TrackingUnavailableError
from bridge.tracking_uri import TrackingStore, UnusableTrackingUriError, store_of
from service.settings import InvalidSettingsError, Settings

_SEVERITY = list(Level)


def examine(environment: Mapping[str, str], folder: Path) -> Sequence[Finding]:
    """Look at everything between the counters and the page that shows them.

    Args:
        environment: The variables, as the service has them.
        folder: The folder in which the service is started.
    """
    try:
        settings = Settings.from_environment(environment)
    except InvalidSettingsError as error:
        return [problem("settings", str(error), "correct the variable; nothing starts before")]
    try:
        store = store_of(settings, folder)
    except UnusableTrackingUriError as error:
        uri = problem("tracking URI", *_parts(str(error)))
        state = examine_state(settings, None, time.time())
        return [uri, *state, stores.space(stores.local_folders(None, settings.state_dir))]
    return _examine_store(settings, store, environment)


def as_text(findings: Sequence[Finding]) -> str:
    """One line for each check, and one below it where there is something to do."""
    width = max(len(finding.check) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{finding.level:8} {finding.check:{width}}  {finding.found}")
        if finding.todo:
            lines.append(f"{'':8} {'':{width}}  -> {finding.todo}")
    return "\n".join(lines)


def as_json(findings: Sequence[Finding]) -> str:
    """The same for programs."""
    return json.dumps(
        {"worst": worst(findings), "checks": [asdict(finding) for finding in findings]}, indent=2
    )


def worst(findings: Sequence[Finding]) -> Level:
    """How bad it is on the whole."""
    return max((finding.level for finding in findings), key=_SEVERITY.index)


def _examine_store(
    settings: Settings, store: TrackingStore, environment: Mapping[str, str]
) -> Sequence[Finding]:
    programs = stores.programs(store)
    clock = skipped("clock", "no server is asked")
    version = skipped("version", "no server is asked")
    if store.is_server:
        contact = servers.contact(store, environment)
        access, clock, version = contact.access, contact.clock, contact.version
        readable = contact.is_open
    elif store.files is not None:
        access, readable = [ok("reachable", store.name)], store.files.is_dir()
    elif programs.level is Level.OK:
        reachable, tables, readable = stores.tables(store)
        access = [reachable, tables]
    else:
        access = [skipped("reachable", "the driver is missing")]
        readable = False
    experiment_id, seen = None, _unseen()
    if readable and programs.level is Level.OK:
        experiment_id, seen = _look(store, settings.mlflow_experiment_name)
    return [
        _uri(settings, store),
        stores.file_store(store),
        programs,
        *access,
        *seen,
        *examine_state(settings, store, time.time()),
        clock,
        stores.space(stores.local_folders(store, settings.state_dir)),
        version,
        stores.page(store, settings.mlflow_ui, experiment_id),
    ]


def _uri(settings: Settings, store: TrackingStore) -> Finding:
    if settings.mlflow_tracking_uri is None:
        return ok("tracking URI", f"MLFLOW_TRACKING_URI is not set: {store.name}")
    if (settings.mlflow_tracking_uri or "").startswith(("file://.", "FILE://.")):
        return warning(
            "tracking URI",
            f"{settings.mlflow_tracking_uri} is read as {store.name} here, but other programs "
            "take the dot for a host, and write to the root of the disk",
            f"MLFLOW_TRACKING_URI={store.uri}",
        )
    return ok("tracking URI", store.name)


def _look(store: TrackingStore, experiment_name: str) -> tuple[str | None, Sequence[Finding]]:
    # It imports MLflow, which takes a second and may be missing.
    from bridge.mlflow_tracking import MlflowTracking  # noqa: PLC0415

    try:
        records: Records = MlflowTracking(store, experiment_name).look()
    except TrackingUnavailableError as error:
        failed = problem("experiment", str(error), "see the server's log")
        return None, [failed, skipped("runs", "the experiment cannot be read")]
    except Exception as error:  # noqa: BLE001 - MLflow lets through whatever a damaged store causes
        failed = problem(
            "experiment",
            f"MLflow cannot read {store.name}: {error!r}",
            "restore a backup of the store, or move it away",
        )
        return None, [failed, skipped("runs", "the experiment cannot be read")]
    found = stores.experiment(experiment_name, records)
    return records.experiment_id, [found, stores.runs(records)]


def _unseen() -> Sequence[Finding]:
    return [skipped(check, "the store cannot be read yet") for check in ("experiment", "runs")]


def _parts(message: str) -> tuple[str, str]:
    found, _, todo = message.rpartition("; ")
    return found, todo
