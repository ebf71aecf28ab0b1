from pathlib import Path

import pytest

from service.settings import InvalidSettingsError, Settings


def test_the_defaults_are_those_of_the_documentation() -> None:
    settings = Settings.from_environment({})

    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 8000, 1)
    assert (settings.state_dir, settings.models_dir) == (Path("var"), Path("models"))


def test_a_variable_turns_a_knob() -> None:
    assert Settings.from_environment({"CTR_PORT": "9000", "PORT": "1"}).port == 9000


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("CTR_PROT", "8000", "CTR_PROT is not a setting.*CTR_PORT"),
        ("CTR_PORT", "eighty", "CTR_PORT: .*integer"),
        ("CTR_PORT", "70000", "CTR_PORT: .*65535"),
        ("CTR_WORKERS", "0", "CTR_WORKERS: .*1"),
        ("CTR_SIGNING_KEY", "short", "CTR_SIGNING_KEY: .*32"),
        # Bytes that are no UTF-8, as Python shows them.
        ("CTR_INSTANCE", "a\udcff", "CTR_INSTANCE: not a text"),
        ("CTR_\udcff", "1", "CTR_.*: not a text"),
        ("MLFLOW_TRACKING_URI", "http://[", "MLFLOW_TRACKING_URI: .*address"),
        ("CTR_PROMETHEUS_URL", "http://[", "CTR_PROMETHEUS_URL: .*address"),
    ],
)
def test_a_wrong_variable_is_refused_by_name(name: str, value: str, said: str) -> None:
    with pytest.raises(InvalidSettingsError, match=said):
        Settings.from_environment({name: value})


def test_a_secret_is_not_repeated_in_the_error() -> None:
    with pytest.raises(InvalidSettingsError) as error:
        Settings.from_environment({"CTR_SIGNING_KEY": "hunter2"})
    assert "hunter2" not in str(error.value)


def test_kubernetes_service_links_are_no_settings() -> None:
    links = {
        "CTR_PORT": "tcp://10.0.0.1:8000",
        "CTR_SERVICE_HOST": "10.0.0.1",
        "CTR_SERVICE_PORT": "8000",
        "CTR_SERVICE_PORT_HTTP": "8000",
        "CTR_PORT_8000_TCP": "tcp://10.0.0.1:8000",
        "CTR_PORT_8000_TCP_ADDR": "10.0.0.1",
        "CTR_MONITOR_SERVICE_HOST": "10.0.0.2",
        "CTR_MONITOR_PORT_8000_TCP_PROTO": "tcp",
    }
    assert Settings.from_environment(links) == Settings()


def test_mlflows_own_variables_are_settings_and_their_ctr_twins_are_not() -> None:
    given = Settings.from_environment({"MLFLOW_TRACKING_URI": "http://mlflow:5000"})
    assert given.mlflow_tracking_uri == "http://mlflow:5000"

    with pytest.raises(InvalidSettingsError, match="CTR_MLFLOW_TRACKING_URI is not a setting"):
        Settings.from_environment({"CTR_MLFLOW_TRACKING_URI": "http://mlflow:5000"})


@pytest.mark.parametrize("seconds", ["1", "5", "15", "60", "300", "3600"])
def test_a_window_of_the_bridge_divides_a_day_into_ticks_or_minutes(seconds: str) -> None:
    given = {"CTR_BRIDGE_WINDOW": seconds, "CTR_SNAPSHOT_INTERVAL": "1"}
    assert Settings.from_environment(given).bridge_window == int(seconds)


@pytest.mark.parametrize(("seconds", "tick"), [("7", "1"), ("90", "5"), ("420", "5"), ("3", "2")])
def test_a_window_of_the_bridge_that_fits_nothing_is_refused(seconds: str, tick: str) -> None:
    given = {"CTR_BRIDGE_WINDOW": seconds, "CTR_SNAPSHOT_INTERVAL": tick}
    with pytest.raises(InvalidSettingsError, match=r"CTR_BRIDGE_WINDOW.* give a divisor of 86400"):
        Settings.from_environment(given)
