"""Every knob of the service, read once at the edge from ``CTR_...`` variables."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

PREFIX = "CTR_"

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
    max_body_bytes: Annotated[int, Field(ge=1024)] = 4 * 1024 * 1024
    """Largest request body that is read."""

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
        given = {
            name.removeprefix(PREFIX).lower(): value
            for name, value in environment.items()
            if name.startswith(PREFIX) and not _is_service_link(name, value)
        }
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise InvalidSettingsError(
                "; ".join(_explain(str(e["loc"][0]), e["type"], e["msg"]) for e in error.errors())
            ) from None


def variable(field: str) -> str:
    """Name of the environment variable of a setting."""
    return PREFIX + field.upper()


def _is_service_link(name: str, value: str) -> bool:
    return bool(_SERVICE_LINK.fullmatch(name) or _SERVICE_ADDRESS.match(value))


def _explain(field: str, kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        known = ", ".join(variable(name) for name in Settings.model_fields)
        return f"{variable(field)} is not a setting; the settings are {known}"
    return f"{variable(field)}: {message}"
