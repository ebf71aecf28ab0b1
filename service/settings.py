"""Every knob of the service, read once at the edge from ``CTR_...`` variables."""

import ipaddress
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from service.logs import LogFormat, LogLevel
from service.monitoring.drift.window_test import DriftThresholds
from service.monitoring.experiment.report import MARGIN
from service.monitoring.health import HealthPolicy
from service.monitoring.objectives import (
    AVERAGE_LATENCY,
    CALIBRATION,
    ERROR_RATE,
    HEALTH_WINDOW,
    MIN_REQUESTS,
)

PREFIX = "CTR_"
FLEET_SCOPE = "fleet"
_OF_MLFLOW = ("mlflow_tracking_uri", "mlflow_experiment_name")
"""Settings that bear MLflow's own names."""
_MLFLOW_UI = "http://127.0.0.1:5000"
_SECONDS_PER_MINUTE, _SECONDS_PER_DAY = 60, 86_400

# A Kubernetes service called "ctr" or "ctr-..." puts its address into every container.
_SERVICE_LINK = re.compile(
    rf"{PREFIX}(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP)(_\w+)?)"
)
_SERVICE_ADDRESS = re.compile(r"(tcp|udp)://")


class InvalidSettingsError(ValueError):
    """A setting is unknown or has a value that cannot be used; the message names it."""


class Settings(BaseModel):
    """What an operator can turn; see the README for the same table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """Port to listen on; 0 lets the system choose one."""
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes that serve; any of them answers for all."""
    state_dir: Path = Path("var")
    """Folder of everything that must survive a restart."""
    models_dir: Path = Path("models")
    """Folder that training writes to."""
    experiment_file: Path | None = None
    """A/B test in TOML; by default ``experiment.toml`` where there is one."""
    signing_key: Annotated[str, Field(min_length=32)] | None = None
    """Secret that signs prediction ids, shared by replicas; by default made in the state folder."""
    signing_key_before: Annotated[str, Field(min_length=32)] | None = None
    """The signing key before this one, whose ids are still taken; by default as for the key."""
    api_token: Annotated[str, Field(min_length=16, pattern=r"^[!-~]*$")] | None = None
    """Token that clicks, baselines, reloads and rollbacks must bear; needed beyond loopback."""
    max_concurrency: Annotated[int, Field(ge=1)] = 256
    """Requests that a worker answers at one time; the others are told to come again."""
    state_url: str | None = None
    """State store, such as ``postgresql://...``; by default SQLite in the state folder."""
    instance: Annotated[str, Field(min_length=1, max_length=128)] = Field(
        default_factory=socket.gethostname
    )
    """Name of this host in a shared state store; by default the host's name."""
    snapshot_interval: Annotated[int, Field(ge=1, le=60)] = 5
    """Seconds between two stored snapshots; divides a minute."""
    history: Annotated[int, Field(ge=7200)] = 604_800
    """Seconds that the history reaches back."""
    health_window: Annotated[int, Field(ge=1)] = int(HEALTH_WINDOW.limit)
    """Seconds that health looks back."""
    error_rate_threshold: Annotated[float, Field(ge=0, le=100)] = ERROR_RATE.limit
    """Percent of failed requests above which a model is degraded."""
    latency_threshold_ms: Annotated[float, Field(gt=0)] = AVERAGE_LATENCY.limit
    """Average latency in milliseconds above which a model is degraded."""
    min_requests: Annotated[int, Field(ge=1)] = int(MIN_REQUESTS.limit)
    """Requests below which a health check decides nothing."""
    min_predictions: Annotated[int, Field(ge=1)] = 100
    """Predictions below which nothing is captured as a baseline and no drift decided."""
    faults: str = ""
    """Faults to rehearse, such as ``xgboost:error=0.2,latency_ms=300``; on loopback only."""
    materiality: Annotated[float, Field(ge=0, lt=1)] = 0.01
    """Change of the mean prediction, as a share of it, that is no drift."""
    drift_window: Annotated[int, Field(ge=300, le=86_400)] = 3600
    """Seconds that drift's effect sizes look back."""
    drift_mean_z: Annotated[float, Field(gt=0)] = 2.0
    """z of the mean prediction over the window from which it counts as drift."""
    drift_mean_z_high: Annotated[float, Field(gt=0)] = 3.0
    """z above which drift of a mean is severe."""
    drift_variance_ratio: Annotated[float, Field(gt=1)] = 1.5
    """Ratio of variances from which it counts as drift; its inverse below."""
    drift_variance_ratio_high: Annotated[float, Field(gt=1)] = 2.0
    """Ratio of variances from which it is severe; its inverse below."""
    drift_latency_z: Annotated[float, Field(gt=0)] = 2.0
    """z of the mean latency over the window from which it counts as an anomaly."""
    attribution_window: Annotated[int, Field(ge=1)] = 86_400
    """Seconds after a prediction in which its click counts."""
    calibration_zone: Annotated[float, Field(ge=0, lt=1)] = CALIBRATION.limit
    """Share by which clicks may be more or fewer than predicted without being drift."""
    equivalence_margin: Annotated[float, Field(gt=0, lt=1)] = MARGIN
    """Share of the baseline's CTR within which two variants of an A/B test are equivalent."""
    monitoring_source: Literal["local", "prometheus"] = "local"
    """Whether this host's counters are monitored, or the fleet's through Prometheus."""
    prometheus_url: str | None = None
    """Prometheus, or what speaks its HTTP API, for a fleet; such as ``http://127.0.0.1:9090``."""
    prometheus_selector: Annotated[str, Field(pattern=r"^\{.*\}$")] = '{job="ctr"}'
    """Which targets of Prometheus are the fleet."""
    scrape_interval: Annotated[int, Field(ge=1, le=60)] = 5
    """Seconds between two scrapes of an instance; divides a minute."""
    bridge_enabled: bool = True
    """Whether the service starts the bridge to MLflow beside it."""
    bridge_window: Annotated[int, Field(ge=1, le=3600)] = 300
    """Seconds of one window of the history in MLflow."""
    samples_per_window: Annotated[int, Field(ge=1, le=1000)] = 100
    """Individual predictions, and errors, of a model that a window keeps for MLflow."""
    mlflow_tracking_uri: str | None = None
    """Where the history goes; by default SQLite, ``mlflow.db`` in the working folder."""
    mlflow_experiment_name: Annotated[str, Field(min_length=1)] = "ctr_prediction_production"
    """Experiment in MLflow."""
    mlflow_file_store: Literal["avoid", "strict"] = "avoid"
    """Whether a ``file:`` URI really means MLflow's retired file store."""
    mlflow_ui_url: str | None = None
    """Where people open MLflow; by default the tracking server, or ``http://127.0.0.1:5000``."""
    log_format: LogFormat = "auto"
    """Form of the log: ``text``, ``json``, or by ``auto`` text on a terminal and JSON elsewhere."""
    log_level: LogLevel = "info"
    """From ``debug``, ``info``, ``warning`` or ``error`` on the log tells something."""
    max_body_bytes: Annotated[int, Field(ge=1024)] = 4 * 1024 * 1024
    """Largest batch that is read; other bodies may have 64 KiB."""

    @field_validator("snapshot_interval", "scrape_interval")
    @classmethod
    def _divides_a_minute(cls, seconds: int) -> int:
        if 60 % seconds:
            raise ValueError(f"{seconds} does not divide 60; use 1, 2, 3, 4, 5, 6, 10, 12, 15, ...")
        return seconds

    @field_validator("mlflow_tracking_uri", "mlflow_ui_url", "prometheus_url")
    @classmethod
    def _can_be_taken_apart(cls, address: str | None) -> str | None:
        try:
            urlsplit(address or "")
        except ValueError as error:  # without the address, which may hold a password
            raise ValueError("not an address such as http://127.0.0.1:5000") from error
        return address

    @model_validator(mode="after")
    def _windows_fit_ticks(self) -> Self:
        seconds, tick = self.bridge_window, self.snapshot_interval
        unit = tick if seconds < _SECONDS_PER_MINUTE else _SECONDS_PER_MINUTE
        if _SECONDS_PER_DAY % seconds or seconds % unit:
            raise ValueError(
                f"CTR_BRIDGE_WINDOW: windows of {seconds} s do not divide a day into whole "
                f"minutes; give a divisor of 86400 that is a multiple of 60, or below a minute of "
                f"CTR_SNAPSHOT_INTERVAL, {tick}"
            )
        return self

    @model_validator(mode="after")
    def _clicks_ripen_within_the_history(self) -> Self:
        if self.attribution_window >= self.history:
            raise ValueError(
                f"CTR_ATTRIBUTION_WINDOW: {self.attribution_window} s are not less than "
                f"CTR_HISTORY, {self.history} s; nothing would be left to judge"
            )
        return self

    @model_validator(mode="after")
    def _a_fleet_has_a_prometheus(self) -> Self:
        if self.monitoring_source == "prometheus" and not self.prometheus_url:
            raise ValueError("CTR_PROMETHEUS_URL: a fleet needs it, such as http://127.0.0.1:9090")
        return self

    @model_validator(mode="after")
    def _faults_only_on_loopback(self) -> Self:
        if self.faults and not self.loopback:
            raise ValueError(f"CTR_FAULTS is for rehearsals on 127.0.0.1, not on {self.host}")
        return self

    @property
    def signing_keys(self) -> tuple[str | None, str | None, Path]:
        """The two secrets that were configured, and where the key is kept without them."""
        return self.signing_key, self.signing_key_before, self.state_dir / "signing.key"

    @property
    def loopback(self) -> bool:
        """Whether only this machine is listened to."""
        return _is_loopback(self.host)

    @property
    def scope(self) -> str:
        """Whose snapshots, leases and verdicts are meant in a shared state store."""
        return f"instance:{self.instance}"

    @property
    def monitored_scope(self) -> str:
        """Whose drift is judged and whose history goes to MLflow."""
        return self.scope if self.monitoring_source == "local" else FLEET_SCOPE

    @property
    def fleet_interval(self) -> int:
        """Seconds between two snapshots of the fleet."""
        return max(self.snapshot_interval, self.scrape_interval)

    @property
    def state_store(self) -> str | Path:
        """URL of the state store that was configured, or SQLite's file in the state folder."""
        return self.state_url or self.state_dir.absolute() / "state.db"

    @property
    def mlflow_ui(self) -> str:
        """Where people open MLflow."""
        if self.mlflow_ui_url:
            return self.mlflow_ui_url.rstrip("/")
        tracked = urlsplit(self.mlflow_tracking_uri or "")
        if tracked.scheme not in {"http", "https"}:
            return _MLFLOW_UI
        # Without a user and password that may be in it.
        host = tracked.netloc.rpartition("@")[2]
        return f"{tracked.scheme}://{host}{tracked.path}".rstrip("/")

    @property
    def health_policy(self) -> HealthPolicy:
        """Thresholds of the health checks."""
        return HealthPolicy(
            error_rate_percent=self.error_rate_threshold,
            latency_ms=self.latency_threshold_ms,
            min_requests=self.min_requests,
        )

    @property
    def longest_quality_window(self) -> int:
        """Seconds of predictions that the history has and that are mature."""
        return self.history - self.attribution_window

    @property
    def quality_window(self) -> int:
        """Seconds of predictions that quality is judged on: a day, so that every hour counts."""
        return min(_SECONDS_PER_DAY, self.longest_quality_window)

    @property
    def drift_thresholds(self) -> DriftThresholds:
        """Thresholds of drift's window test and of its severities."""
        return DriftThresholds(
            mean_z=self.drift_mean_z,
            mean_z_high=self.drift_mean_z_high,
            variance_ratio=self.drift_variance_ratio,
            variance_ratio_high=self.drift_variance_ratio_high,
            latency_z=self.drift_latency_z,
            latency_z_high=self.drift_mean_z_high,
            min_predictions=self.min_predictions,
            window_seconds=self.drift_window,
        )

    @property
    def releases_dir(self) -> Path:
        """Folder of what is served and was served before."""
        return self.state_dir / "releases"

    @property
    def metrics_dir(self) -> Path:
        """Folder of the metrics files, one folder in it for each epoch."""
        return self.state_dir / "metrics"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read the settings.

        Raises:
            InvalidSettingsError: A ``CTR_`` variable is misspelt or its value cannot be used.
        """
        variables = {variable(field): field for field in cls.model_fields}
        given = {
            variables.get(name, name): value
            for name, value in environment.items()
            if (name in variables or name.startswith(PREFIX)) and not _is_service_link(name, value)
        }
        for field, value in given.items():
            if not _is_text(field + value):
                name = variable(field) if field in cls.model_fields else ascii(field)
                raise InvalidSettingsError(f"{name}: not a text in UTF-8")
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise InvalidSettingsError(
                "; ".join(_explain(e["loc"], e["type"], e["msg"]) for e in error.errors())
            ) from None


def variable(field: str) -> str:
    """Name of the environment variable of a setting."""
    return field.upper() if field in _OF_MLFLOW else PREFIX + field.upper()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_service_link(name: str, value: str) -> bool:
    return bool(_SERVICE_LINK.fullmatch(name) or _SERVICE_ADDRESS.match(value))


def _is_text(value: str) -> bool:
    # A byte of the environment that is none is half of a pair of surrogates.
    return not any("\ud800" <= letter <= "\udfff" for letter in value)


def _explain(location: tuple[int | str, ...], kind: str, message: str) -> str:
    if not location:
        return message.removeprefix("Value error, ")
    field = str(location[0])
    if kind == "extra_forbidden":
        known = ", ".join(variable(field) for field in Settings.model_fields)
        return f"{field} is not a setting; the settings are {known}"
    return f"{variable(field)}: {message}"
