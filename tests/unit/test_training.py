import gzip
import json
import math
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import log_loss, roc_auc_score

from service.monitoring.buckets import PREDICTION_BOUNDS
from service.prediction.model_folder import load_bundle, load_models
from service.training.cli import main
from service.training.click_log import ClickLog
from service.training.evaluation import quality_of, quality_table
from service.training.log_files import read_click_log
from service.training.pipeline import VALIDATION_SHARE, Trained, train
from service.training.simulation import Simulation, simulate

_REAL_LOGS = Path(__file__).parents[2].parent / "shared" / "data"
_NOW = datetime(2026, 11, 23, tzinfo=UTC)


def _train(log: ClickLog) -> Trained:
    return train(log, data_description="a test", created_at=_NOW)


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return simulate(40_000, seed=1)


@pytest.fixture(scope="module")
def trained(simulation: Simulation) -> Trained:
    return _train(simulation.log)


def _validation(log: ClickLog) -> slice:
    return slice(round(len(log) * (1 - VALIDATION_SHARE)), None)


def judged_predictions(trained: Trained, log: ClickLog) -> list[NDArray[np.float64]]:
    features = trained.judged.encoder.encode(log.requests())
    return [model.predict(features) for model in trained.judged.models]


def test_quality_matches_a_hand_computed_case() -> None:
    quality = quality_of(np.array([0.2, 0.4, 0.4, 0.5]), np.array([False, True, False, True]))

    # four pairs of a click and a non-click: three in order, one tied
    assert quality.auc == pytest.approx(3.5 / 4)
    assert quality.log_loss == pytest.approx(-math.log(0.8 * 0.4 * 0.6 * 0.5) / 4)
    assert quality.normalised_entropy == pytest.approx(quality.log_loss / math.log(2))
    assert quality.calibration_ratio == pytest.approx(0.375 / 0.5)


def test_quality_without_clicks_is_refused_rather_than_zero() -> None:
    with pytest.raises(ValueError, match=r"CTR of 0\.0"):
        quality_of(np.array([0.1, 0.2]), np.array([False, False]))


def test_the_table_has_a_line_for_each_model_in_its_columns() -> None:
    quality = quality_of(np.array([0.2, 0.6]), np.array([False, True]))

    lines = quality_table({"xgboost": quality, "logistic": quality}).splitlines()

    assert [line.split()[0] for line in lines] == ["model", "xgboost", "logistic"]
    assert len({len(line) for line in lines}) == 1


def test_both_kinds_come_near_the_truth_that_only_the_simulation_knows(
    simulation: Simulation, trained: Trained
) -> None:
    rows = _validation(simulation.log)
    best = roc_auc_score(simulation.log.click[rows], simulation.probabilities[rows])

    assert {bundle.model.kind for bundle in trained.bundles} == {"xgboost", "logistic"}
    for bundle in trained.bundles:
        quality = trained.qualities[bundle.name]
        assert quality.auc > 0.5 + 0.6 * (best - 0.5)
        assert quality.normalised_entropy < 0.97
        assert 0.8 < quality.calibration_ratio < 1.25
    assert trained.qualities["constant"].auc == 0.5


def test_the_figures_are_those_of_models_that_had_not_seen_the_later_rows(
    simulation: Simulation, trained: Trained
) -> None:
    later = simulation.log[_validation(simulation.log)]
    for bundle, predictions in zip(
        trained.bundles, judged_predictions(trained, later), strict=True
    ):
        metrics = bundle.metadata.validation_metrics
        assert metrics["auc"] == pytest.approx(roc_auc_score(later.click, predictions))
        assert metrics["log_loss"] == pytest.approx(log_loss(later.click, predictions))
        assert bundle.metadata.validation_rows == len(later) == 10_000


def test_the_baseline_describes_the_predictions_on_the_later_rows(
    simulation: Simulation, trained: Trained
) -> None:
    later = simulation.log[_validation(simulation.log)]
    for bundle, predictions in zip(
        trained.bundles, judged_predictions(trained, later), strict=True
    ):
        baseline = bundle.baseline
        assert baseline.predictions is not None

        assert (baseline.model_name, baseline.model_version) == (bundle.name, bundle.version)
        assert baseline.observations == len(later)
        assert baseline.mean_prediction == pytest.approx(predictions.mean())
        assert baseline.std_prediction == pytest.approx(predictions.std())
        assert baseline.mean_latency_seconds is None
        assert baseline.latency is None
        evening = predictions[later.hour == 20]
        assert baseline.predictions.counts[20].sum() == len(evening)
        assert baseline.predictions.sums[20] == pytest.approx(evening.sum())
        below = np.searchsorted(PREDICTION_BOUNDS, 0.016, side="left") + 1
        assert baseline.predictions.counts[20, :below].sum() == (evening <= 0.016).sum()


def test_the_baseline_counts_every_value_of_every_feature(
    simulation: Simulation, trained: Trained
) -> None:
    later = simulation.log[_validation(simulation.log)]
    bundle = trained.bundles[0]
    features = bundle.baseline.features

    assert list(features) == ["user", "ad", "device", "placement", "hour", "day_of_week"]
    for name, feature in features.items():
        assert feature.values == bundle.encoder.vocabularies[name]
        assert feature.counts.sum() == len(later)
    tablets = [r.hour for r in later.requests() if r.device == "tablet"]
    tablet = features["device"].counts[:, features["device"].values.index("tablet")]
    assert tablet.tolist() == np.bincount(tablets, minlength=24).tolist()


def test_users_who_were_new_in_the_later_rows_count_as_unseen_in_the_baseline(
    simulation: Simulation, trained: Trained
) -> None:
    rows = simulation.log.requests()
    known = {row.user_id for row in rows[:30_000]}
    new = sum(row.user_id not in known for row in rows[30_000:])
    bundle = trained.bundles[0]

    counted = bundle.baseline.features["user"]
    assert counted.counts[:, counted.values.index("(unseen)")].sum() == new > 0
    # The model that is served has seen them.
    unseen = bundle.encoder.vocabularies["user"].index("(unseen)")
    assert (bundle.encoder.value_indices(rows)[:, 0] != unseen).all()


def test_training_again_gives_the_same_models(simulation: Simulation, trained: Trained) -> None:
    again = _train(simulation.log)

    assert [b.version for b in again.bundles] == [b.version for b in trained.bundles]


def test_labels_that_are_pure_chance_are_not_learned(simulation: Simulation) -> None:
    log = simulation.log
    chance = ClickLog(
        user_id=log.user_id,
        ad_id=log.ad_id,
        device=log.device,
        placement=log.placement,
        hour=log.hour,
        day_of_week=log.day_of_week,
        click=np.random.default_rng(2).random(len(log)) < 0.2,
        timestamp=log.timestamp,
    )

    qualities = _train(chance).qualities

    for name in ("xgboost", "logistic"):
        # 10,000 rows of 2,000 clicks: one standard error of the AUC is 0.0072
        assert qualities[name].auc == pytest.approx(0.5, abs=0.025)
        assert qualities[name].normalised_entropy < 1.01


def test_the_command_writes_loadable_models_and_says_how_good_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--output", str(tmp_path / "models"), "--rows", "8000", "--seed", "3"]) == 0

    printed = capsys.readouterr().out
    models = load_models(tmp_path / "models")
    assert set(models) == {"xgboost", "logistic"}
    for name, bundle in models.items():
        assert f"{name}/versions/{bundle.version}" in printed
        assert f"{bundle.metadata.validation_metrics['auc']:.4f}" in printed
    assert "SIMULATED" in printed


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--data", "missing.csv"], 1, "missing.csv does not exist"),
        (["--data", "broken.csv"], 1, "broken.csv lacks the column"),
        (["--data", "broken.csv", "--rows", "5"], 2, "--rows is for the simulated log"),
        (["--rows", "8"], 1, "clicks and non-clicks are needed"),
    ],
)
def test_bad_input_is_one_line_and_changes_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    arguments: list[str],
    status: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.csv").write_text("user_id,click\nu,1\n")

    assert main(arguments) == status

    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["broken.csv"]


def _real_log(name: str) -> Path:
    path = _REAL_LOGS / f"{name}_dev.csv.gz"
    if not path.exists():
        pytest.skip(f"{path} is not here; it is evaluation data that must not be in the repository")
    return path


def test_a_real_log_is_predicted_better_than_by_its_base_rate() -> None:
    # The 3,809 later rows hold 681 clicks: one standard error of the AUC is 0.012, and the bounds
    # leave about as much.
    qualities = _train(read_click_log([_real_log("avazu")])).qualities

    for name in ("xgboost", "logistic"):
        assert qualities[name].auc >= 0.67
        assert qualities[name].normalised_entropy <= 0.945
        assert 0.9 <= qualities[name].calibration_ratio <= 1.15


@pytest.mark.parametrize("name", ["talkingdata", "obd"])
def test_real_logs_of_few_clicks_can_be_trained_on(name: str, tmp_path: Path) -> None:
    path = _real_log(name)

    assert main(["--data", str(path), "--output", str(tmp_path)]) == 0

    rows = gzip.decompress(path.read_bytes()).count(b"\n") - 1
    for bundle in load_models(tmp_path).values():
        assert bundle.metadata.train_rows == rows
        assert path.name in bundle.metadata.data_description
        home = tmp_path / bundle.name / "versions" / bundle.version
        assert json.loads((home / "metadata.json").read_text())["kind"] == bundle.name


def test_a_challenger_is_of_the_kind_of_its_model_under_its_own_name_with_its_own_baseline(
    tmp_path: Path,
) -> None:
    rows = ["--rows", "3000", "--output", str(tmp_path)]
    assert main(rows) == 0
    before = {name: bundle.version for name, bundle in load_models(tmp_path).items()}

    assert main([*rows, "--seed", "1", "--write-as", "logistic=other,xgboost=x2"]) == 0

    after = load_models(tmp_path)
    assert {name: bundle.model.kind for name, bundle in after.items()} == {
        "logistic": "logistic",
        "xgboost": "xgboost",
        "other": "logistic",
        "x2": "xgboost",
    }
    assert {name: after[name].version for name in before} == before
    assert after["other"].baseline.model_name == "other"
    assert "seed 1" in after["other"].metadata.data_description


def test_a_challenger_of_a_model_that_is_not_there_is_refused_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--output", str(tmp_path), "--write-as", "xgboost=other"]) == 1

    assert "xgboost/CURRENT cannot be used: No such file" in capsys.readouterr().err


def test_for_a_script_the_result_is_one_document(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--output", str(tmp_path), "--rows", "4000", "--json"]) == 0

    told = capsys.readouterr()
    read = json.loads(told.out)
    assert read["train_rows"] == 4000
    for model in read["models"]:
        bundle = load_bundle(tmp_path / model["model_name"])
        assert model["model_version"] == bundle.version
        assert model["validation_metrics"] == bundle.metadata.validation_metrics
        assert Path(model["folder"]).is_dir()
    assert told.err.startswith("training on ")


@pytest.mark.parametrize("names", ["", "xgboost", "a=b=c", "a=../b", "a=b,c", "a=b,a=c"])
def test_names_that_cannot_be_are_refused(names: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--write-as", names])

    assert "is not like xgboost=xgboost_challenger" in capsys.readouterr().err
