"""Asks an MLflow server what the bridge will ask it.

Its health check answers even where every client is refused, so it is not asked.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, version
from urllib.parse import urlsplit

import httpx

from bridge.doctor.findings import Finding, ok, problem, skipped, warning
from bridge.tracking_uri import TrackingStore

TIMEOUT_SECONDS = 3.0
_SKEW_SECONDS = 5.0
_CREDENTIALS = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """What a server says of itself."""

    access: Sequence[Finding]
    """Whether it is there, takes the name it is called by, and knows us."""
    clock: Finding
    version: Finding

    @property
    def is_open(self) -> bool:
        """Whether it answers us."""
        return all(finding.level.value == "ok" for finding in self.access)


def contact(store: TrackingStore, environment: Mapping[str, str]) -> Contact:
    """Ask a server for its experiments, as any client does."""
    try:
        with _client(store, environment) as client:
            asked = time.time()
            answer = client.post("/api/2.0/mlflow/experiments/search", json={"max_results": 1})
            answered = time.time()
            access = _access(store, answer)
            if not answer.is_success:
                return _closed(*access)
            return Contact(
                access=access, clock=_clock(answer, asked, answered), version=_version(client)
            )
    except httpx.TimeoutException:
        return _closed(_unreachable(store, f"no answer within {TIMEOUT_SECONDS:g} s"))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return _closed(_unreachable(store, store.redacted(str(error))))


def _client(store: TrackingStore, environment: Mapping[str, str]) -> httpx.Client:
    user, password, token = (
        environment.get(f"MLFLOW_TRACKING_{name}") for name in ("USERNAME", "PASSWORD", "TOKEN")
    )
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.Client(
        base_url=store.uri,  # May hold a name and a password itself.
        auth=(user, password) if user and password else None,
        headers=headers,
        timeout=TIMEOUT_SECONDS,
        follow_redirects=True,
        verify=environment.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() not in {"1", "true"},
    )


def _unreachable(store: TrackingStore, what: str) -> Finding:
    return problem(
        "reachable",
        f"{store.name}: {what}",
        "start the server, or correct MLFLOW_TRACKING_URI; what is counted meanwhile waits in the "
        "outbox",
    )


def _access(store: TrackingStore, answer: httpx.Response) -> Sequence[Finding]:
    host = urlsplit(store.uri).hostname or ""
    if answer.status_code == HTTPStatus.FORBIDDEN and "host" in answer.text.lower():
        refused = problem(
            "host",
            f"the server refuses to be called {host}, though its /health answers",
            f'start it with --allowed-hosts "{host},{host}:*,localhost:*,127.0.0.1:*"',
        )
        return (ok("reachable", store.name), refused)
    known = ok("host", f"the server may be called {host}")
    if answer.status_code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        who = problem(
            "credentials",
            f"the server does not let us in ({answer.status_code})",
            f"set {_CREDENTIALS}, of a user who may write, for the service",
        )
        return (ok("reachable", store.name), known, who)
    if not answer.is_success or not _is_mlflow(answer):
        what = f"what answers is not MLflow in order (status {answer.status_code})"
        return (_unreachable(store, what),)
    seconds = answer.elapsed.total_seconds()
    return (
        ok("reachable", f"{store.name} answered in {seconds:.2f} s"),
        known,
        ok("credentials", "the server lets us in"),
    )


def _is_mlflow(answer: httpx.Response) -> bool:
    try:
        return set(answer.json()) <= {"experiments", "next_page_token"}
    except (TypeError, ValueError):
        return False


def _clock(answer: httpx.Response, asked: float, answered: float) -> Finding:
    try:
        theirs = parsedate_to_datetime(answer.headers["Date"]).timestamp()
    except (KeyError, ValueError):
        return skipped("clock", "the server does not tell its time")
    # Theirs is cut to whole seconds, and was read at some time in between.
    ahead = max(theirs - answered, 0.0) - max(asked - theirs - 1.0, 0.0)
    if abs(ahead) <= _SKEW_SECONDS:
        return ok("clock", f"the server's agrees within {_SKEW_SECONDS:g} s")
    return warning(
        "clock",
        f"the server's is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} this host's, "
        "whose time the points bear",
        "let NTP set both",
    )


def _version(client: httpx.Client) -> Finding:
    try:
        theirs = client.get("/version").raise_for_status().text.strip()
        ours = version("mlflow")
    except (httpx.HTTPError, PackageNotFoundError) as error:
        return skipped("version", f"cannot be compared: {type(error).__name__}")
    if theirs.split(".")[:2] == ours.split(".")[:2]:
        return ok("version", f"server {theirs}, client {ours}")
    return warning(
        "version",
        f"the server is MLflow {theirs[:40]}, the client {ours}",
        "run one version; where they must differ, upgrade the server first",
    )


def _closed(*access: Finding) -> Contact:
    return Contact(
        access=access,
        clock=skipped("clock", "the server cannot be asked"),
        version=skipped("version", "the server cannot be asked"),
    )
