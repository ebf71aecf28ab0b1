"""Settings, as environment variables.

Law: an environment gives settings, or an ``InvalidSettingsError`` that names a setting.
"""

from fuzz.damage import Choices
from service.settings import InvalidSettingsError, Settings, variable

_NAMES = sorted(variable(field) for field in Settings.model_fields)
_VALUES = (
    *("", "0", "-1", "1", "60", "86400", "604800", "1e400", "nan", "9" * 5000, "0.5", "true", "x"),
    *("127.0.0.1", "0.0.0.0", "localhost", "::1", "http://h:1", "http://[", "postgresql://u:p@h"),  # noqa: S104
    *(
        "prometheus",
        "xgboost:error=0.2,latency_ms=300",
        "a" * 40,
        "\x00",
        "\ud800",
        "var",
        "local",
    ),
)


def seeds() -> list[bytes]:
    """Each setting with some values."""
    return [
        bytes([value, name]) for name in range(len(_NAMES)) for value in range(0, len(_VALUES), 5)
    ]


def check(data: bytes) -> None:
    """Read one setting for every two bytes, and whatever name and value the rest says."""
    choices = Choices(data)
    environment: dict[str, str] = {}
    while choices.rest and len(environment) < 4:
        value = choices.below(len(_VALUES) + 1)
        name = _NAMES[choices.below(len(_NAMES))]
        own = choices.rest.decode("utf-8", "surrogateescape")
        environment[name] = own if value == len(_VALUES) else _VALUES[value]
    try:
        settings = Settings.from_environment(environment)
    except InvalidSettingsError as error:
        assert any(name in str(error) for name in _NAMES), error
        return
    assert settings.longest_quality_window > 0
    settings.mlflow_ui.encode("utf-8", "surrogateescape")
    assert settings.fleet_interval >= settings.snapshot_interval
