import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import xgboost as xgb

from service.monitoring.baseline import Baseline
from service.prediction import model_folder
from service.prediction.features import FeatureEncoder
from service.prediction.model import Model, ModelBundle, ModelMetadata, version_of
from service.prediction.model_folder import (
    KEPT_VERSIONS,
    ModelFolderError,
    load_bundle,
    load_models,
    load_version,
    make_current,
    versions_of,
    write_bundle,
)
from service.prediction.model_kinds import LogisticModel, XGBoostModel
from service.prediction.request_keys import KEYS

_START = datetime(2026, 11, 23, 1, 45, tzinfo=UTC)
_RNG = np.random.default_rng(0)
_ENCODER = FeatureEncoder({key.table: {} for key in KEYS})
_ROWS = _RNG.normal(size=(300, len(_ENCODER.names))).astype(np.float32)


def _booster() -> xgb.Booster:
    rows = xgb.DMatrix(_ROWS, label=_ROWS[:, 0] > _ROWS[:, 1], feature_names=list(_ENCODER.names))
    return xgb.train({"objective": "binary:logistic", "nthread": 1}, rows, 5)


def _logistic(names: tuple[str, ...] = _ENCODER.names) -> LogisticModel:
    size = len(names)
    return LogisticModel(
        feature_names=names,
        means=np.linspace(-1, 1, size),
        scales=np.linspace(0.5, 2, size),
        weights=np.linspace(-0.3, 0.4, size),
        intercept=-2.0,
    )


def _bundle(model: Model, created_at: datetime = _START) -> ModelBundle:
    version = version_of(model, _ENCODER, created_at=created_at)
    return ModelBundle(
        name=model.kind,
        version=version,
        model=model,
        encoder=_ENCODER,
        baseline=Baseline(
            model_name=model.kind,
            model_version=version,
            mean_prediction=0.02,
            std_prediction=0.01,
            source="training",
            created_at=created_at,
            created_by="a test",
        ),
        metadata=ModelMetadata(
            created_at=created_at,
            data_description="none",
            train_rows=3,
            validation_rows=1,
            validation_metrics={"auc": 0.75},
            library_versions={"xgboost": xgb.__version__},
        ),
    )


@pytest.mark.parametrize("model", [XGBoostModel(_booster()), _logistic()], ids=lambda m: m.kind)
def test_what_is_loaded_is_what_was_written(model: Model, tmp_path: Path) -> None:
    bundle = _bundle(model)

    write_bundle(tmp_path, bundle)
    loaded = load_bundle(tmp_path / model.kind)

    assert (loaded.name, loaded.version, loaded.metadata) == (
        bundle.name,
        bundle.version,
        bundle.metadata,
    )
    assert loaded.model.predict(_ROWS).tobytes() == model.predict(_ROWS).tobytes()
    assert loaded.encoder.to_json() == bundle.encoder.to_json()
    assert loaded.baseline.to_json() == bundle.baseline.to_json()


def test_xgboost_scores_are_bit_equal_to_the_boosters_own() -> None:
    booster = _booster()
    rows = xgb.DMatrix(_ROWS, feature_names=list(_ENCODER.names))

    scores = XGBoostModel(booster).predict(_ROWS)

    assert scores.dtype == np.float64
    assert (scores == booster.predict(rows).astype(np.float64)).all()


def test_a_model_that_falls_back_is_named_in_the_log_with_the_reason_when_it_is_loaded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = xgb.DMatrix(_ROWS, label=_ROWS[:, 0] > 0, feature_names=list(_ENCODER.names))
    dart = xgb.train({"objective": "binary:logistic", "booster": "dart", "nthread": 1}, rows, 2)
    write_bundle(tmp_path, _bundle(XGBoostModel(dart)))
    write_bundle(tmp_path, _bundle(_logistic()))

    loaded = load_models(tmp_path)

    (warning,) = caplog.messages
    assert warning == (
        f"xgboost {loaded['xgboost'].version} is scored by xgboost alone, which is slower for "
        "single requests: the booster is dart, not gbtree"
    )
    assert loaded["xgboost"].model.evaluator.fallback_reason == "the booster is dart, not gbtree"


def test_a_logistic_score_matches_a_hand_computed_case() -> None:
    model = LogisticModel(
        feature_names=("a", "b"),
        means=np.array([1.0, 0.0]),
        scales=np.array([2.0, 1.0]),
        weights=np.array([1.0, -0.5]),
        intercept=0.25,
    )

    # (3 - 1) / 2 * 1 + 2.5 * -0.5 + 0.25 = 0
    assert model.predict(np.array([[3.0, 2.5]], dtype=np.float32)).tolist() == [0.5]


@pytest.mark.parametrize("model", [XGBoostModel(_booster()), _logistic()], ids=lambda m: m.kind)
def test_a_row_scores_the_same_alone_and_in_a_batch(model: Model) -> None:
    alone = [model.predict(_ROWS[i : i + 1])[0] for i in range(len(_ROWS))]

    assert (model.predict(_ROWS) == alone).all()
    assert model.predict(_ROWS[:0]).shape == (0,)


def test_versions_sort_by_time_and_name_their_content() -> None:
    model = _logistic()
    changed = replace(model, intercept=-2.1)

    versions = [
        version_of(model, _ENCODER, created_at=_START),
        version_of(model, _ENCODER, created_at=_START + timedelta(seconds=1)),
        version_of(changed, _ENCODER, created_at=_START + timedelta(days=40)),
    ]

    assert versions[0].startswith("20261123T014500Z-")
    assert versions == sorted(versions)
    assert versions[0][-6:] == versions[1][-6:] != versions[2][-6:]


def test_the_newest_versions_are_kept_and_any_of_them_can_be_served_again(tmp_path: Path) -> None:
    bundles = [
        _bundle(_logistic(), _START + timedelta(minutes=i)) for i in range(KEPT_VERSIONS + 1)
    ]
    for bundle in bundles:
        write_bundle(tmp_path, bundle)
    folder = tmp_path / "logistic"

    kept = [bundle.version for bundle in bundles[:0:-1]]
    assert list(versions_of(folder)) == kept
    assert load_bundle(folder).version == bundles[-1].version

    make_current(folder, kept[-1])
    assert load_bundle(folder).version == kept[-1]
    with pytest.raises(ModelFolderError, match="no version"):
        make_current(folder, bundles[0].version)


def _fail(*_: object) -> None:
    raise OSError("the disk is full")


@pytest.mark.parametrize("step", ["write_durably", "make_durable", "make_current"])
def test_a_crash_while_writing_leaves_the_old_version_current(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    old, new = (_bundle(_logistic(), _START + timedelta(hours=i)) for i in range(2))
    write_bundle(tmp_path, old)
    with monkeypatch.context() as crash:
        crash.setattr(model_folder, step, _fail)
        with pytest.raises(OSError, match="disk is full"):
            write_bundle(tmp_path, new)

    assert load_bundle(tmp_path / "logistic").version == old.version

    write_bundle(tmp_path, new)
    assert load_bundle(tmp_path / "logistic").version == new.version
    left = {path.name for path in (tmp_path / "logistic" / "versions").iterdir()}
    assert left == {old.version, new.version}


@pytest.mark.parametrize("name", ["model.json", "features.json", "baseline.json", "metadata.json"])
@pytest.mark.parametrize("damage", ["flipped byte", "cut short", "missing"])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, name: str, damage: str) -> None:
    path = write_bundle(tmp_path, _bundle(_logistic())) / name
    content = bytearray(path.read_bytes())
    if damage == "flipped byte":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif damage == "cut short":
        path.write_bytes(content[:-20])
    else:
        path.unlink()

    with pytest.raises(ModelFolderError, match="train again"):
        load_bundle(tmp_path / "logistic")
    if damage == "missing" or name != "metadata.json":
        with pytest.raises(ModelFolderError, match=name):
            load_bundle(tmp_path / "logistic")


@pytest.mark.parametrize(
    ("name", "field"),
    [("model.json", "intercept"), ("baseline.json", "mean_prediction")],
)
def test_a_file_that_is_readable_but_altered_is_refused_by_its_checksum(
    tmp_path: Path, name: str, field: str
) -> None:
    path = write_bundle(tmp_path, _bundle(_logistic())) / name
    content = json.loads(path.read_text())
    content[field] += 0.001
    path.write_text(json.dumps(content))

    with pytest.raises(ModelFolderError, match=rf"{name} cannot be used: its checksum"):
        load_bundle(tmp_path / "logistic")


def _forge(version_folder: Path, name: str, change: Callable[[dict[str, object]], object]) -> None:
    """Change a file and the checksum that guards it, as someone who edits by hand would."""
    path, metadata_path = version_folder / name, version_folder / "metadata.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    if path != metadata_path:
        metadata = json.loads(metadata_path.read_text())
        metadata["sha256"][name] = hashlib.sha256(path.read_bytes()).hexdigest()
        metadata_path.write_text(json.dumps(metadata))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("metadata.json", lambda c: c.update(format=2), "metadata format 2"),
        ("metadata.json", lambda c: c.update(name="xgboost"), "metadata describes xgboost"),
        ("metadata.json", lambda c: c.update(kind="oracle"), "kind 'oracle'"),
        ("metadata.json", lambda c: c.pop("sha256"), "sha256"),
        ("metadata.json", lambda c: c.pop("train_rows"), "train_rows"),
        ("model.json", lambda c: c.update(format=2), "logistic format 2"),
        ("model.json", lambda c: c["weights"].pop(), "one number for each feature"),
        ("model.json", lambda c: c["feature_names"].reverse(), "other features"),
        ("model.json", lambda c: c["scales"].__setitem__(0, 0.0), "positive"),
        ("model.json", lambda c: c.update(intercept=None), "malformed"),
        ("features.json", lambda c: c["tables"].pop("ad"), "ad"),
        ("features.json", lambda c: c.update(format=2), "features format 2"),
        ("features.json", lambda c: c["names"].reverse(), "feature names"),
        ("baseline.json", lambda c: c.update(model_name="other"), "baseline describes other"),
        ("baseline.json", lambda c: c.update(format=2), "baseline format 2"),
        ("baseline.json", lambda c: c.update(features=None), "baseline is malformed"),
        ("baseline.json", lambda c: c.update(std_prediction="0.1"), "std_prediction"),
        ("baseline.json", lambda c: c.update(mean_latency_seconds=-1), "mean_latency_seconds"),
        ("baseline.json", lambda c: c.update(predictions={"bounds": [1, 0]}), "bounds"),
        ("baseline.json", lambda c: c.update(source="hearsay"), "source"),
        ("model.json", lambda c: c.update(intercept=10**400), "too large"),
        ("features.json", lambda c: c.update(tables=[]), "malformed"),
        ("metadata.json", lambda c: c.update(created_at=1), "fromisoformat"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(
    tmp_path: Path, name: str, change: Callable[[dict[str, object]], object], message: str
) -> None:
    _forge(write_bundle(tmp_path, _bundle(_logistic())), name, change)

    with pytest.raises(ModelFolderError, match=message) as refused:
        load_bundle(tmp_path / "logistic")
    assert str(refused.value).count("train again") == 1


def test_a_model_of_another_folder_is_refused(tmp_path: Path) -> None:
    write_bundle(tmp_path, _bundle(_logistic()))
    (tmp_path / "logistic").rename(tmp_path / "renamed")

    with pytest.raises(ModelFolderError, match="metadata describes logistic"):
        load_bundle(tmp_path / "renamed")


@pytest.mark.parametrize("pointer", ["", "../../etc", "20200101T000000Z-000000"])
def test_a_pointer_to_nowhere_is_refused(tmp_path: Path, pointer: str) -> None:
    write_bundle(tmp_path, _bundle(_logistic()))
    (tmp_path / "logistic" / "CURRENT").write_text(pointer)

    with pytest.raises(ModelFolderError, match="CURRENT names the version"):
        load_bundle(tmp_path / "logistic")


def test_all_models_of_a_folder_are_loaded_by_name(tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError, match=r"holds no model; run scripts/train_models\.py"):
        load_models(tmp_path)

    for model in (XGBoostModel(_booster()), _logistic()):
        write_bundle(tmp_path, _bundle(model))

    assert {name: b.model.kind for name, b in load_models(tmp_path).items()} == {
        "logistic": "logistic",
        "xgboost": "xgboost",
    }


def test_models_that_were_trained_together_share_their_encoder(tmp_path: Path) -> None:
    other = FeatureEncoder({key.table: {} for key in KEYS} | {"ad": {"a": bytes(8)}})
    write_bundle(tmp_path, _bundle(_logistic()))
    write_bundle(tmp_path, _bundle(XGBoostModel(_booster())))
    write_bundle(tmp_path, _renamed(replace(_bundle(_logistic()), encoder=other), "later"))

    encoders = {name: bundle.encoder for name, bundle in load_models(tmp_path).items()}

    assert encoders["logistic"] is encoders["xgboost"]
    assert encoders["later"].to_json() == other.to_json()


def _renamed(bundle: ModelBundle, name: str) -> ModelBundle:
    return replace(bundle, name=name, baseline=replace(bundle.baseline, model_name=name))


def test_a_model_that_was_not_made_current_can_be_loaded_by_version(tmp_path: Path) -> None:
    old, new = (_bundle(_logistic(), _START + timedelta(hours=i)) for i in range(2))
    for bundle in (old, new):
        write_bundle(tmp_path, bundle)

    assert load_version(tmp_path / "logistic", old.version).version == old.version


@pytest.mark.parametrize(
    "change",
    [
        lambda bundle: replace(bundle, name="Not A Name"),
        lambda bundle: replace(bundle, version="1"),
        lambda bundle: replace(bundle, model=_logistic(("other",))),
        lambda bundle: replace(bundle, baseline=replace(bundle.baseline, model_version="1")),
    ],
    ids=["name", "version", "features", "baseline"],
)
def test_a_bundle_of_parts_that_do_not_fit_cannot_be_made(
    change: Callable[[ModelBundle], ModelBundle], request: pytest.FixtureRequest
) -> None:
    bundle = _bundle(_logistic())

    with pytest.raises(ValueError, match=request.node.callspec.id):
        change(bundle)
