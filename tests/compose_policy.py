"""What every container of docker-compose.yml must keep to; the tests plant faults in the file."""

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from compose_file import IMAGE, SECRETS, image_environment, image_health_check
from mlflow import environment_variables

from service.settings import InvalidSettingsError, Settings, variable

LOOPBACK = {"127.0.0.1", "localhost"}
DEFAULT_PORTS = {"postgres": 5432, "grafana": 3000}
_SETTINGS = {variable(field) for field in Settings.model_fields}
_OF_MLFLOW_SERVER = {"MLFLOW_BACKEND_STORE_URI"}
"""Flags of its command that have a variable but no place in its list."""
NEIGHBOURS = {
    "postgres": {"service", "bridge", "mlflow"},
    "mlflow": {"bridge", "postgres"},
    "alertmanager": {"prometheus"},
    "grafana": {"prometheus"},
}
"""Who may reach what asks nobody for a password, or keeps what nobody else needs."""
_OPENING_FLAGS = {
    "prometheus": (
        *("--web.enable-lifecycle", "--web.enable-admin-api"),
        *("--web.enable-remote-write-receiver", "--web.enable-otlp-receiver", "--web.cors.origin"),
    ),
    "mlflow": (
        *("--cors-allowed-origins", "--x-frame-options"),
        *("--allowed-hosts=*", "--disable-security-middleware"),
    ),
}
"""Flags with which more may be asked, or by more."""
_GRAFANA_SHUT = {
    "GF_AUTH_ANONYMOUS_ENABLED": "false",
    "GF_USERS_ALLOW_SIGN_UP": "false",
    "GF_SECURITY_ADMIN_PASSWORD": SECRETS["GRAFANA_ADMIN_PASSWORD"],
}
_ADDRESS = re.compile(r"[a-z+]+://(?:[^\s@/'\"]*@)?[\w.-]+:\d+")

Container = Mapping[str, Any]


def violations(config: Mapping[str, Any]) -> list[str]:
    """Everything that is wrong, each with the name of its container."""
    containers: Mapping[str, Container] = config["services"]
    return [
        f"{name}: {found}"
        for name, container in containers.items()
        for found in (
            *_exposure(container),
            *_neighbours(name, containers),
            *_openness(name, container),
            *_rights(container),
            *_resources(name, container),
            *_secrets(container),
            *_variables(container),
            *_addresses(name, containers),
            *_order(name, containers),
        )
    ]


def listening_port(name: str, container: Container) -> int | None:
    """Where the program listens, as its command and variables say."""
    command = " ".join(container.get("command") or ())
    flag = re.search(r"(?:--port=|--web\.listen-address=:)(\d+)", command)
    if flag:
        return int(flag[1])
    if name == "service":
        return int(environment_of(container)["CTR_PORT"])
    return DEFAULT_PORTS.get(name)


def environment_of(container: Container) -> dict[str, str]:
    """Variables of the image and of the file."""
    own: Mapping[str, str] = container.get("environment") or {}
    return {**(image_environment() if container["image"] == IMAGE else {}), **own}


def health_check_of(container: Container) -> list[str] | None:
    """Return the command that says whether it is well."""
    check = container.get("healthcheck")
    if check is None:
        return image_health_check() if container["image"] == IMAGE else None
    if check.get("disable"):
        return None
    kind, *command = check["test"]
    return ["sh", "-c", *command] if kind == "CMD-SHELL" else command


def _exposure(container: Container) -> Iterator[str]:
    for port in container.get("ports") or ():
        if port.get("host_ip") not in LOOPBACK:
            yield f"port {port['target']} is published beyond loopback"
    if container.get("network_mode") not in {None, "none"}:
        yield f"network mode {container['network_mode']}"


def _neighbours(name: str, containers: Mapping[str, Container]) -> Iterator[str]:
    own = set(containers[name].get("networks") or ())
    for other, container in containers.items():
        shared = own & set(container.get("networks") or ())
        if other != name and shared and other not in NEIGHBOURS.get(name, {other}):
            yield f"can be reached by {other}"


def _openness(name: str, container: Container) -> Iterator[str]:
    command = list(container.get("command") or ())
    for argument in command:
        if argument.startswith(_OPENING_FLAGS.get(name, ())):
            yield f"{argument} opens it"
    if name == "mlflow":
        hosts = [one for one in command if one.startswith("--allowed-hosts=")]
        if len(hosts) != 1 or "*" in hosts[0].partition("=")[2].split(","):
            yield "answers to any name"
    if name == "grafana":
        own = environment_of(container)
        for variable_name, shut in _GRAFANA_SHUT.items():
            if own.get(variable_name) != shut:
                yield f"{variable_name} leaves it open"


def _rights(container: Container) -> Iterator[str]:
    if container.get("privileged") or container.get("cap_add"):
        yield "has more rights than it needs"
    if container.get("cap_drop") != ["ALL"]:
        yield "keeps capabilities"
    if "no-new-privileges:true" not in (container.get("security_opt") or ()):
        yield "may gain privileges"
    if container.get("read_only") is not True:
        yield "can write to its image"
    if not re.fullmatch(r"[1-9]\d*:\d+", container.get("user") or ""):
        yield "is not known to run as another user than root"
    for volume in container.get("volumes") or ():
        if volume["type"] == "bind" and not volume.get("read_only"):
            yield f"can write to {PurePosixPath(volume['source']).name} of the host"
        if "docker.sock" in volume["source"]:
            yield "commands the engine"


def _resources(name: str, container: Container) -> Iterator[str]:
    for limit in ("mem_limit", "pids_limit"):
        if int(container.get(limit) or 0) <= 0:
            yield f"has no {limit}"
    if "max-size" not in ((container.get("logging") or {}).get("options") or {}):
        yield "logs without limit"
    if not re.search(r":v?\d+\.\d+(\.\d+)?(-[a-z]+)?$", container["image"]):
        yield f"image {container['image']} is not pinned"
    if name != "train" and container.get("restart") != "unless-stopped":
        yield "does not start again"
    if name != "train" and health_check_of(container) is None:
        yield "has no health check"


def _secrets(container: Container) -> Iterator[str]:
    for name, value in environment_of(container).items():
        password = urlsplit(value).password if "://" in value else None
        if re.search(r"PASSWORD|SECRET|SIGNING_KEY|TOKEN", name):
            password = value
        if password is not None and password not in SECRETS.values():
            yield f"{name} holds a password that is not from .env"
    if any(secret in str(container.get("command")) for secret in SECRETS.values()):
        yield "has a password among its arguments"


def _variables(container: Container) -> Iterator[str]:
    for name in container.get("environment") or {}:
        known = name in _SETTINGS or name in _OF_MLFLOW_SERVER
        known = known or hasattr(environment_variables, name)
        # The database's image is told a password of the same prefix.
        if re.match("CTR_|MLFLOW_", name) and not known and name not in SECRETS:
            yield f"{name} is not a setting"
    if container["image"] != IMAGE:
        return
    try:
        Settings.from_environment(environment_of(container))
    except InvalidSettingsError as error:
        yield str(error)


def _addresses(name: str, containers: Mapping[str, Container]) -> Iterator[str]:
    own = containers[name]
    for port in own.get("ports") or ():
        if port["target"] != listening_port(name, own) or port["published"] != str(port["target"]):
            yield f"publishes {port['published']}:{port['target']}, where it does not listen"
    texts = [*environment_of(own).values(), *(own.get("command") or ())]
    texts += health_check_of(own) or []
    for address in (found for text in texts for found in _ADDRESS.findall(text)):
        host, port = urlsplit(address).hostname, urlsplit(address).port
        if host in LOOPBACK:
            if port not in {listening_port(*item) for item in containers.items()}:
                yield f"nobody listens on {host}:{port}"
        elif host not in containers or port != listening_port(host, containers[host]):
            yield f"nobody listens on {host}:{port}"
        elif not set(own.get("networks") or ()) & set(containers[host].get("networks") or ()):
            yield f"has no network in common with {host}"


def _order(name: str, containers: Mapping[str, Container]) -> Iterator[str]:
    for other, how in (containers[name].get("depends_on") or {}).items():
        one_shot = containers[other].get("restart") == "no"
        if one_shot != (how["condition"] == "service_completed_successfully"):
            yield f"waits for {other} until it is {how['condition']}"
        if how["condition"] == "service_healthy" and not health_check_of(containers[other]):
            yield f"waits for {other}, which has no health check"
