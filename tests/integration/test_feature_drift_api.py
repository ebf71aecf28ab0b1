"""Drift of features of a running service: a share moves, the features say so, the status stays."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
import pytest
from exposition import total
from feature_traffic import CountedFeatures
from prometheus_server import wait_until
from service_process import running_service

from service.monitoring.baseline import Baseline
from service.monitoring.feature_drift.budget import LOG_THRESHOLD
from service.monitoring.feature_drift.distribution import FeatureDistribution
from service.prediction.ad_request import AdRequest
from service.prediction.features import FeatureEncoder
from service.prediction.model import ModelBundle
from service.prediction.model_folder import load_models
from service.settings import Settings
from service.sources.active_baselines import ActiveBaselines
from service.sources.feature_watch import FeatureWatch
from service.state.store import open_state

MODEL = "xgboost"
TICK_SECONDS = 15
EARLIER_TICKS = 18
ROWS = 200

pytestmark = pytest.mark.integration


def requests(encoder: FeatureEncoder, device: str) -> list[AdRequest]:
    placements, now = encoder.vocabularies["placement"][:8], datetime.now(UTC)
    return [
        AdRequest(f"user_{i}", f"ad_{i % 5}", device, placements[i % 8], now.hour, now.weekday())
        for i in range(ROWS)
    ]


def counted(encoder: FeatureEncoder, rows: list[AdRequest]) -> dict[tuple[str, str], float]:
    """What serving counts for these rows."""
    found: dict[tuple[str, str], float] = {}
    for indices in encoder.value_indices(rows).tolist():
        for (feature, values), place in zip(encoder.vocabularies.items(), indices, strict=True):
            found[feature, values[place]] = found.get((feature, values[place]), 0.0) + 1
    return found


def baseline_of(
    bundle: ModelBundle, *, scored: list[AdRequest], known: list[AdRequest]
) -> Baseline:
    """The scores are those of one traffic, what was asked is another; a week of each hour."""
    scores = bundle.model.predict(bundle.encoder.encode(scored))
    hours = np.arange(24 * 7) + int(time.time() // 3600) // 24 * 24 - 24 * 7
    drawn = counted(bundle.encoder, known)
    features = {
        feature: FeatureDistribution.of(
            feature,
            values,
            hours,
            np.array(
                [[10 * round(drawn.get((feature, value), 0)) for value in values]] * len(hours)
            ),
        )
        for feature, values in bundle.encoder.vocabularies.items()
        if feature not in {"hour", "day_of_week"}
    }
    return Baseline(
        model_name=MODEL,
        model_version=bundle.version,
        mean_prediction=float(scores.mean()),
        std_prediction=float(scores.std()),
        features=features,
        source="request",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        created_by="test",
    )


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> Iterator[httpx.Client]:
    """A service whose last life saw, for some minutes, nothing but an unknown device."""
    state_dir = tmp_path_factory.mktemp("state")
    settings = Settings(state_dir=state_dir, instance="test")
    bundle = load_models(models_dir)[MODEL]
    usual, unusual = (requests(bundle.encoder, name) for name in ("mobile", "hologram"))
    source = CountedFeatures(MODEL, bundle.version)
    with open_state(settings.state_store) as state:
        baselines = ActiveBaselines(lambda: {MODEL: bundle.baseline}, state.baselines)
        baselines.save(baseline_of(bundle, scored=unusual, known=usual))
        watch = FeatureWatch(
            values=state.values,
            scope=settings.scope,
            source=source,
            baselines=baselines,
            window_seconds=settings.drift_window,
            min_predictions=settings.min_predictions,
        )
        now = time.time() // TICK_SECONDS * TICK_SECONDS
        ends = (now - TICK_SECONDS * age for age in reversed(range(EARLIER_TICKS)))
        row = counted(bundle.encoder, unusual)
        for snapshot in source.serve((end, row) for end in ends):
            watch.advance(snapshot)
    env = {"CTR_INSTANCE": "test", "CTR_SNAPSHOT_INTERVAL": "5"}
    with running_service(state_dir, models_dir, env=env) as running, running.client() as talking:
        yield talking


def drift(client: httpx.Client) -> dict[str, object]:
    answer: dict[str, object] = client.get(f"/monitoring/drift/{MODEL}").json()
    return answer


def feature(answer: dict[str, object], name: str) -> dict[str, object]:
    found = answer["features"]
    assert isinstance(found, list)
    return next(one for one in found if one["feature"] == name)


def test_a_share_that_moved_is_told_and_the_status_stays(
    client: httpx.Client, models_dir: Path
) -> None:
    encoder = load_models(models_dir)[MODEL].encoder
    before = feature(drift(client), "device")
    assert before["drift_detected"] is False

    def told() -> bool:
        rows = [row._asdict() for row in requests(encoder, "hologram")]
        client.post(
            "/predict_ctr/batch", params={"model_name": MODEL}, json={"requests": rows}
        ).raise_for_status()
        return bool(feature(drift(client), "device")["drift_detected"])

    wait_until(told, seconds=12 * TICK_SECONDS, what="the features say so")
    answer = drift(client)

    device = feature(answer, "device")
    assert device["unseen_rate"] == 1.0
    assert device["baseline_unseen_rate"] == pytest.approx(0, abs=0.001)
    assert device["log_evidence_threshold"] == LOG_THRESHOLD
    assert device["since"]
    assert device["reason"] is None
    assert {value["value"] for value in device["moved"]} == {"mobile", "(unseen)"}  # type: ignore[attr-defined]
    assert feature(answer, "placement")["drift_detected"] is False
    assert answer["status"] == "ok"
    assert answer["drift_detected"] is False
    health = client.get("/monitoring/health").json()["models"][MODEL]
    assert health["status"] == "healthy"


def test_prometheus_is_told_the_same(client: httpx.Client) -> None:
    def shown() -> bool:
        return total(client, "ctr_feature_drift_active", model=MODEL, feature="device") == 1

    wait_until(shown, seconds=2 * TICK_SECONDS, what="the gauge shows it")
    assert total(client, "ctr_feature_drift_active", model=MODEL, feature="placement") == 0
    assert total(client, "ctr_feature_psi_ratio", model=MODEL, feature="device") > 0.25


def test_a_baseline_of_four_numbers_has_no_features_and_says_why(client: httpx.Client) -> None:
    client.post(
        "/monitoring/baseline",
        json={
            "model_name": MODEL,
            "mean_prediction": 0.02,
            "std_prediction": 0.01,
            "mean_latency_ms": 1.0,
            "std_latency_ms": 1.0,
        },
    ).raise_for_status()

    answer = drift(client)

    assert answer["features"] == []
    assert "capture" in str(answer["features_reason"])
