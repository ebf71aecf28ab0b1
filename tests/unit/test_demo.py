"""The demo's pure parts: who visits, what is looked for in answers, which folder it may empty."""

import socket
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from demo.alert_news import AlertNews
from demo.audience import ROWS, SEED, Audience
from demo.places import Places, address, fresh_folder
from demo.programs import StageError
from demo.signs import alerts, clicks_back, clicks_missing, drifted, healthy, in_mlflow, no_drift
from demo.stage import environment
from service.training.log_files import read_click_log
from service.training.simulation import simulate

NOON = datetime(2026, 11, 22, 12, 30, tzinfo=UTC)  # a Sunday
PLACES = Places("http://127.0.0.1:1", "http://127.0.0.1:2", None)


@pytest.fixture(scope="module")
def audience() -> Audience:
    return Audience.of_simulation()


def test_visitors_are_people_of_the_log_at_the_time_that_it_is(audience: Audience) -> None:
    log = simulate(ROWS, seed=SEED).log
    shown = list(audience.draw(np.random.default_rng(1), 500, campaign_share=0.0, at=NOON))

    assert {one.request["user_id"] for one in shown} <= set(log.user_id.values)
    assert {(one.request["hour"], one.request["day_of_week"]) for one in shown} == {(12, 6)}


def test_clicks_are_as_probable_as_in_the_log(audience: Audience) -> None:
    simulation = simulate(ROWS, seed=SEED)
    log = simulation.log
    [row] = np.flatnonzero((log.hour == 12) & (log.day_of_week == 6))[:1]
    alone = Audience(
        tuple([column[row]] for column in audience.columns),
        audience.log_odds[[row]],
        np.array([0]),
    )
    [shown] = alone.draw(np.random.default_rng(1), 1, campaign_share=0.0, at=NOON)

    assert shown.click_probability == pytest.approx(simulation.probabilities[row], rel=1e-9)


def test_the_campaign_buys_its_share_at_the_top_of_pages(audience: Audience) -> None:
    rng = np.random.default_rng(1)
    every = list(audience.draw(rng, 300, campaign_share=1.0, at=NOON))
    normal = list(audience.draw(rng, 3000, campaign_share=0.0, at=NOON))

    assert len({str(one.request["ad_id"])[:4] for one in every}) == 1
    assert all(str(one.request["placement"]).endswith(":top") for one in every)
    assert sum(one.click_probability for one in every) / 300 > 1.5 * (
        sum(one.click_probability for one in normal) / 3000
    )


def test_a_normal_day_is_one_of_the_same_weekday(audience: Audience, tmp_path: Path) -> None:
    audience.write_normal_day(tmp_path / "day.csv", now=NOON)
    text = (tmp_path / "day.csv").read_text()
    header, first, *_ = text.splitlines()

    assert header == "user_id,ad_id,device,placement,hour,day_of_week,timestamp"
    assert first.endswith(",0,6,2026-11-15T00:30:00")
    with_clicks = tmp_path / "with_clicks.csv"
    with_clicks.write_text(
        text.replace("timestamp\n", "timestamp,click\n").replace(":00\n", ":00,0\n")
    )
    log = read_click_log([with_clicks])
    assert np.bincount(log.hour).tolist() == [1000] * 24


def drift(**changed: object) -> dict[str, object]:
    return {
        "status": "ok",
        "observations": 5000,
        "log_evidence": -4.2,
        "log_evidence_threshold": 16.99,
        "drifts": [],
    } | changed


def test_drift_is_told_with_its_evidence_and_means() -> None:
    shift = {
        "type": "mean_shift",
        "since": "2026-11-23T15:49:15Z",
        "log_evidence": 19.96,
        "log_evidence_threshold": 16.99,
        "baseline_mean": 0.0224,
        "current_mean": 0.031,
    }

    assert drifted(drift()) is None
    assert drifted(drift(drifts=[{"type": "calibration_shift"}])) is None
    assert drifted(drift(status="drift", drifts=[shift])) == (
        "drift: mean shift since 15:49:15 UTC, evidence 20.0 of 17.0 nats; "
        "mean prediction 2.24% before, 3.10% in the window"
    )


def test_no_drift_needs_enough_predictions() -> None:
    assert no_drift(drift(observations=999)) is None
    assert no_drift(drift(status="insufficient_data")) is None
    assert no_drift(drift(log_evidence=None)) is None  # no tick has passed yet
    assert no_drift(drift()) == "no drift in 5,000 predictions: evidence -4.2 of 17.0 nats"


def quality(low: float, high: float | None, status: str = "ok") -> dict[str, object]:
    interval = (low, high)
    return {
        "status": status,
        "calibration_interval": interval,
        "calibration_ratio": 1.5,
        "clicks": 50,
    }


def test_clicks_are_missing_where_the_whole_interval_is_beyond_the_zone() -> None:
    assert clicks_missing(quality(1.05, 2.0)) is None
    assert clicks_missing(quality(1.2, 2.0, "insufficient_data")) is None
    told = clicks_missing(quality(1.2, 2.0))
    assert told is not None
    assert "50 clicks came, 1.50 were predicted for each (95 % interval 1.20 to 2.00)" in told


def test_clicks_are_back_where_the_interval_holds_one() -> None:
    assert clicks_back(quality(1.2, 2.0)) is None
    assert clicks_back(quality(0.9, 1.2)) is not None
    assert clicks_back(quality(0.9, None)) is not None


def test_health_is_well_only_where_it_is_known() -> None:
    def health(**checks: str) -> dict[str, object]:
        model = {
            "checks": [{"name": name, "status": status} for name, status in checks.items()],
            "total_requests": 1234,
            "error_rate": 0.0,
            "avg_latency_ms": 0.25,
        }
        return {"status": "healthy", "models": {"xgboost": model}}

    assert healthy(health(error_rate="ok", drift="insufficient_data")) is None
    assert healthy(health(error_rate="ok", drift="ok", calibration="insufficient_data")) is not None


def test_a_number_in_mlflow_counts_only_within_bounds() -> None:
    run = {"run": {"data": {"metrics": [{"key": "error_rate", "value": 6.5}]}}, "url": "http://m/1"}

    assert in_mlflow("error_rate", "errors", at_least=5)(run) == "MLflow: errors 6.5, http://m/1"
    assert in_mlflow("error_rate", "errors", at_least=7)(run) is None
    assert in_mlflow("error_rate", "errors", at_most=6)(run) is None
    assert in_mlflow("latency", "latency")(run) is None


def test_alerts_are_told_once_and_a_short_absence_is_no_end() -> None:
    news = AlertNews()

    assert news.of({"CtrDrift xgboost": "pending"}, now=0) == []
    assert news.of({"CtrDrift xgboost": "firing"}, now=1) == ["CtrDrift xgboost is firing"]
    assert news.of({"CtrDrift xgboost": "firing"}, now=2) == []
    assert news.of({}, now=20) == []
    assert news.of({"CtrDrift xgboost": "firing"}, now=30) == []
    assert news.of({}, now=71) == ["CtrDrift xgboost is over"]
    assert news.of({}, now=72) == []


def test_alerts_are_named_by_their_model() -> None:
    one = {"labels": {"alertname": "CtrDrift", "model": "xgboost"}, "state": "firing"}
    other = {"labels": {"alertname": "CtrServiceGone"}, "state": "pending"}

    assert alerts({"data": {"alerts": [one, other]}}) == {
        "CtrDrift xgboost": "firing",
        "CtrServiceGone": "pending",
    }


def test_settings_of_a_service_of_ones_own_do_not_reach_the_demo(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CTR_STATE_URL", "postgresql://production")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://production")
    monkeypatch.setenv("CTR_PORT", "1234")

    given = environment(Path("models"), PLACES)

    assert not {"CTR_STATE_URL", "MLFLOW_TRACKING_URI", "CTR_PORT"} & given.keys()
    assert given["CTR_MODELS_DIR"] == "models"


def test_only_what_a_demo_wrote_is_emptied(tmp_path: Path) -> None:
    with fresh_folder(tmp_path) as run:
        (run / "state.db").touch()
    with fresh_folder(tmp_path) as run:
        assert not (run / "state.db").exists()
    foreign = tmp_path / "mine"
    (foreign / "run").mkdir(parents=True)
    (foreign / "run" / "thesis.txt").touch()

    with pytest.raises(StageError, match="not made by a demo"), fresh_folder(foreign):
        pass
    assert (foreign / "run" / "thesis.txt").exists()


def test_two_demos_do_not_share_a_folder(tmp_path: Path) -> None:
    with (
        fresh_folder(tmp_path),
        pytest.raises(StageError, match="another demo is running"),
        fresh_folder(tmp_path),
    ):
        pass


def test_a_taken_port_is_named_with_its_flag() -> None:
    _, _, port = address("--port", 0).rpartition(":")
    with (
        socket.create_server(("127.0.0.1", int(port))),
        pytest.raises(StageError, match=rf"port {port} cannot be had: .*--port"),
    ):
        address("--port", int(port))
