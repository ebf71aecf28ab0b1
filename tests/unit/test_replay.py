"""`python -m service replay`."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from drift_traffic import MEAN, MIDNIGHT, STD, Traffic, arrays_of, joined, traffic

from service.__main__ import main
from service.monitoring.drift.ticks import Ticks

Arrays = Mapping[str, np.ndarray]


def saved(path: Path, ticks: Ticks, **other: np.ndarray) -> str:
    np.savez(path, allow_pickle=True, **(arrays_of(ticks) | other))
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
    assert answer["threshold"] == pytest.approx(16.99, abs=0.01)
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


def changed(name: str, row: int, value: float) -> Callable[[Arrays], Arrays]:
    def change(arrays: Arrays) -> Arrays:
        array = arrays[name].astype(np.float64)
        array[row] = value
        return {name: array}

    return change


def scaled(factor: float, *names: str) -> Callable[[Arrays], Arrays]:
    return lambda arrays: {name: factor * arrays[name] for name in names}


def cumulative(arrays: Arrays) -> Arrays:
    return {"prediction_buckets": arrays["prediction_buckets"].cumsum(axis=1)}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (changed("time", -1, np.inf), r"time\[39\] is inf, .*no finite number"),
        (changed("time", 5, np.nan), r"time\[5\] is nan"),
        (lambda a: {"time": a["time"][0]}, r"time has shape \(\): one number a tick"),
        (lambda a: {"time": a["time"][:, None]}, r"time has shape \(40, 1\)"),
        (lambda a: {"time": a["time"][:0]}, "time is empty"),
        (lambda a: {"time": a["time"][::-1]}, r"time\[1\] .*not ascending: sort the ticks"),
        (lambda a: changed("time", 5, a["time"][4])(a), r"time\[5\] .*keep each once"),
        (scaled(1e3, "time"), r"time\[0\] .*seconds are expected"),
        (scaled(1e9, "time"), r"time\[0\] is 1.7\S+, .*seconds are expected"),
        (lambda _: {"time": 86_401.0 * np.arange(1, 41)}, "days apart: seconds are expected"),
        (lambda _: {"prediction_bounds": np.array([0.1, np.inf])}, "shape"),
        (lambda _: {"latency_bounds": np.array(0.1)}, r"latency_bounds have shape \(\)"),
        (changed("prediction_bounds", -1, np.inf), r"prediction_bounds\[28\] is inf"),
        (lambda a: {"latency_bounds": a["latency_bounds"][::-1]}, "each upper bound once"),
        (lambda _: {"prediction_buckets": np.ones((3, 2))}, "ticks by buckets"),
        (lambda _: {"latency_sum": np.array([1.0])}, "latency_sum .*one a tick"),
        (changed("latency_sum_squares", 7, -1.0), r"latency_sum_squares\[7\] .*negative"),
        (changed("prediction_sum", 3, np.nan), r"prediction_sum\[3\] is nan"),
        (scaled(1e300, "prediction_buckets"), "more than can be counted"),
        (lambda a: {"prediction_buckets": a["prediction_buckets"] + 0.3}, "whole number"),
        (scaled(2, "count"), r"count\[0\] is 600, but .* add up to 300"),
        (changed("count", 5, np.nan), r"count\[5\] is nan"),
        (lambda a: {"count": a["count"][:5]}, r"count has shape \(5,\)"),
        (cumulative, "look cumulative"),
        (lambda a: {**cumulative(a), "count": a["count"] * 0 + 1}, "look cumulative"),
        (scaled(1e3, "latency_sum"), r"latency_sum\[0\] .*in one unit"),
        (scaled(1e6, "latency_sum_squares"), r"latency_sum_squares\[0\] .*in one unit"),
        (scaled(0.1, "prediction_sum_squares"), r"prediction_sum_squares\[0\]"),
        (lambda a: {"latency_sum": a["latency_sum"] + 1j}, "latency_sum is complex128"),
        (lambda a: {"latency_sum": a["latency_sum"].astype(object)}, "latency_sum: Object"),
        (lambda a: {"latency_sum": a["latency_sum"].astype(str)}, "latency_sum is <U"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_file_the_array_and_the_row(
    tmp_path: Path,
    reference: str,
    change: Callable[[Arrays], Arrays],
    complaint: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ticks = traffic(40, seed=1)
    path = saved(tmp_path / "ticks.npz", ticks, **change(arrays_of(ticks)))

    status = main(["replay", "--reference", reference, "--ticks", path, "--json"])

    error = capsys.readouterr().err
    assert status == 1
    assert re.search(rf"ticks\.npz: {complaint}|ticks\.npz: .*{complaint}", error)


@pytest.mark.parametrize("factor", [0.95, 1.05])
def test_sums_of_approximations_are_taken(
    tmp_path: Path, reference: str, factor: float, capsys: pytest.CaptureFixture[str]
) -> None:
    # As when every value was counted at the middle of a bucket some percent off.
    ticks = traffic(40, seed=1)
    off = scaled(factor, "prediction_sum")(arrays_of(ticks))
    path = saved(tmp_path / "ticks.npz", ticks, **off)

    assert main(["replay", "--reference", reference, "--ticks", path, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ticks"] == 40


def test_what_is_no_archive_is_refused_by_name(
    tmp_path: Path, reference: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = Path(reference).read_bytes()
    broken = {"empty.npz": b"", "text.npz": b"hello", "half.npz": whole[: len(whole) // 2]}
    for name, content in broken.items():
        (tmp_path / name).write_bytes(content)
    np.save(tmp_path / "array.npy", np.ones(3))

    for name in (*broken, "array.npy"):
        flags = ["--reference", reference, "--ticks", str(tmp_path / name)]
        assert main(["replay", *flags]) == 1
        assert name in capsys.readouterr().err


def test_bounds_in_single_precision_are_the_same_bounds(
    tmp_path: Path, reference: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ticks = traffic(40, seed=1)
    single = {
        name: array.astype(np.float32)
        for name, array in arrays_of(ticks).items()
        if name.endswith("bounds")
    }
    answers = []
    for name, other in (("double.npz", {}), ("single.npz", single)):
        path = saved(tmp_path / name, ticks, **other)
        assert main(["replay", "--reference", reference, "--ticks", path, "--json"]) == 0
        answers.append(json.loads(capsys.readouterr().out))

    assert answers[0] == answers[1]


def test_a_short_reference_and_ticks_before_its_end_are_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = saved(tmp_path / "short.npz", traffic(40, seed=1))

    assert main(["replay", "--reference", short, "--ticks", short, "--json"]) == 0

    captured = capsys.readouterr()
    assert json.loads(captured.out)["alarms"] == []
    assert "commissioning: " in captured.err
    assert "short.npz begins at 2023-11-15T00:00:15+00:00, before" in captured.err


def test_a_long_reference_before_the_ticks_needs_no_note(
    tmp_path: Path, reference: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(tmp_path / "ticks.npz", traffic(5, seed=1, start=MIDNIGHT + 86_400))

    main(["replay", "--reference", reference, "--ticks", path, "--json"])

    assert capsys.readouterr().err == ""


def test_a_reference_of_equal_scores_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    same = saved(tmp_path / "same.npz", traffic(300, Traffic(std=1e-12), seed=1))

    assert main(["replay", "--reference", same, "--ticks", same]) == 1
    assert "same.npz: the predictions do not vary" in capsys.readouterr().err


@pytest.mark.parametrize("share", ["abc", "nan", "-0.1", "1", ""])
def test_a_materiality_that_is_no_share_is_refused(
    share: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["replay", f"--materiality={share}"])

    assert "give one of 0 up to 1, as 0.02" in capsys.readouterr().err


def test_a_missing_file_and_other_bounds_are_refused(
    tmp_path: Path, reference: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["replay", "--reference", reference, "--ticks", str(tmp_path / "no.npz")]) == 1
    assert "no.npz" in capsys.readouterr().err

    ticks = traffic(5, seed=8)
    for name, bounds in (
        ("prediction_bounds", ticks.predictions.bounds),
        ("latency_bounds", ticks.latency.bounds),
    ):
        path = saved(tmp_path / "other.npz", ticks, **{name: 1.1 * bounds})
        assert main(["replay", "--reference", reference, "--ticks", path]) == 1
        error = capsys.readouterr().err
        assert "other.npz has other bucket bounds" in error
        assert f"reference.npz: {name} has" in error


@pytest.mark.parametrize("flags", [[], ["--reference", "a.npz"], ["--ticks", "b.npz"]])
def test_half_a_question_is_refused(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", *flags]) == 2
    assert "--since" in capsys.readouterr().err


def test_a_time_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["replay", "--since", "yesterday"])

    assert "2026-11-23T14:00" in capsys.readouterr().err
