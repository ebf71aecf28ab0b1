"""`python -m service replay`."""

import json
from pathlib import Path

import numpy as np
import pytest
from drift_traffic import MEAN, MIDNIGHT, STD, Traffic, joined, traffic

from service.__main__ import main
from service.monitoring.drift.ticks import Ticks


def saved(path: Path, ticks: Ticks, **other: np.ndarray) -> str:
    arrays = {
        "time": ticks.time,
        "count": ticks.predictions.count,
        "prediction_sum": ticks.predictions.total,
        "prediction_sum_squares": ticks.predictions.squares,
        "prediction_buckets": ticks.predictions.buckets,
        "prediction_bounds": ticks.predictions.bounds,
        "latency_sum": ticks.latency.total,
        "latency_sum_squares": ticks.latency.squares,
        "latency_buckets": ticks.latency.buckets,
        "latency_bounds": ticks.latency.bounds,
    }
    np.savez(path, **(arrays | other))
    return str(path)


@pytest.fixture
def reference(tmp_path: Path) -> str:
    return saved(tmp_path / "reference.npz", traffic(2000, seed=1))


def test_a_replay_prints_one_object_with_the_alarm(
    tmp_path: Path, reference: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ticks = joined(
        traffic(100, seed=2, start=MIDNIGHT + 86_400),
        traffic(50, Traffic(mean=1.2 * MEAN, std=1.2 * STD), seed=3),
    )
    path = saved(tmp_path / "ticks.npz", ticks)

    status = main(["replay", "--reference", reference, "--ticks", path, "--json"])

    answer = json.loads(capsys.readouterr().out)
    assert status == 0
    assert answer["ticks"] == 150
    assert answer["threshold"] == pytest.approx(16.77, abs=0.01)
    assert answer["max_log_evidence"] > answer["threshold"]
    alarm = answer["alarms"][0]
    assert alarm["type"] == "mean_shift"
    assert 100 <= alarm["tick"] < 105
    assert alarm["time"] == ticks.time[alarm["tick"]]
    assert alarm["log_evidence"] >= answer["threshold"]


def test_the_greatest_evidence_may_be_the_latencys(
    tmp_path: Path, reference: str, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = traffic(20, Traffic(latency=0.1), seed=9, start=MIDNIGHT + 86_400)
    path = saved(tmp_path / "ticks.npz", slow)

    main(["replay", "--reference", reference, "--ticks", path, "--json"])

    answer = json.loads(capsys.readouterr().out)
    assert {alarm["type"] for alarm in answer["alarms"]} == {"latency_anomaly"}
    assert answer["max_log_evidence"] >= answer["threshold"]


def test_a_higher_materiality_keeps_a_replay_quiet(
    tmp_path: Path, reference: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ticks = traffic(300, Traffic(mean=1.04 * MEAN, std=STD), seed=4, start=MIDNIGHT + 86_400)
    path = saved(tmp_path / "ticks.npz", ticks)
    flags = ["replay", "--reference", reference, "--ticks", path, "--json", "--materiality"]

    main([*flags, "0.01"])
    strict = json.loads(capsys.readouterr().out)
    main([*flags, "0.1"])
    lenient = json.loads(capsys.readouterr().out)

    assert strict["alarms"]
    assert not lenient["alarms"]


@pytest.mark.parametrize(
    "bounds",
    [
        np.array([0.02]),
        np.array([0.0, 0.01, 0.02, 0.04]),
        np.array([0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0]),
        np.linspace(0.001, 0.2, 200),
    ],
)
def test_any_bounds_will_do(
    tmp_path: Path, bounds: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    def rebinned(ticks: Ticks, scale: float) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(5)
        scores = scale * MEAN * np.exp(0.49 * rng.standard_normal((len(ticks), 300)) - 0.12)
        counts = [
            np.bincount(np.searchsorted(bounds, row), minlength=len(bounds) + 1) for row in scores
        ]
        return {
            "prediction_bounds": bounds,
            "prediction_buckets": np.array(counts),
            "prediction_sum": scores.sum(axis=1),
            "prediction_sum_squares": (scores**2).sum(axis=1),
        }

    good, bad = traffic(1000, seed=6), traffic(60, seed=7, start=MIDNIGHT + 86_400)
    paths = (
        saved(tmp_path / "reference.npz", good, **rebinned(good, 1.0)),
        saved(tmp_path / "ticks.npz", bad, **rebinned(bad, 1.15)),
    )

    assert main(["replay", "--reference", paths[0], "--ticks", paths[1], "--json"]) == 0

    alarms = json.loads(capsys.readouterr().out)["alarms"]
    assert alarms[0]["type"] == "mean_shift"
    assert alarms[0]["tick"] < 20


@pytest.mark.parametrize(
    ("other", "complaint"),
    [
        ({"time": np.array([2.0, 1.0])}, "ascending"),
        ({"prediction_bounds": np.array([0.1, np.inf])}, "finite"),
        ({"prediction_buckets": np.ones((3, 2))}, "shape"),
        ({"latency_sum": np.array([1.0])}, "one a tick"),
        ({"latency_sum_squares": np.full(2000, -1.0)}, "negative"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(
    tmp_path: Path,
    reference: str,
    other: dict[str, np.ndarray],
    complaint: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = saved(tmp_path / "ticks.npz", traffic(2000, seed=1), **other)

    status = main(["replay", "--reference", reference, "--ticks", path, "--json"])

    assert status == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert "ticks.npz" in error


def test_a_missing_file_and_other_bounds_are_refused(
    tmp_path: Path, reference: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", "--reference", reference, "--ticks", str(tmp_path / "no.npz")]) == 2
    assert "no.npz" in capsys.readouterr().err

    ticks = traffic(5, seed=8)
    for name, bounds in (
        ("prediction_bounds", ticks.predictions.bounds),
        ("latency_bounds", ticks.latency.bounds),
    ):
        path = saved(tmp_path / "other.npz", ticks, **{name: 1.1 * bounds})
        assert main(["replay", "--reference", reference, "--ticks", path]) == 2
        assert "other bucket bounds" in capsys.readouterr().err


@pytest.mark.parametrize("flags", [[], ["--reference", "a.npz"], ["--ticks", "b.npz"]])
def test_half_a_question_is_refused(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["replay", *flags])

    assert ended.value.code == 2
    assert "--from" in capsys.readouterr().err


def test_a_time_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["replay", "--from", "yesterday"])

    assert "2026-11-23T14:00" in capsys.readouterr().err
