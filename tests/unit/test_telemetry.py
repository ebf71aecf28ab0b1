"""Recording and reading back, held against prometheus_client's own classes."""

import json
import math
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.multiprocess import MultiProcessCollector
from sklearn.metrics import log_loss
from telemetry_worker import VOCABULARIES, Worker, kill_a_worker

from service.monitoring.buckets import LATENCY_BOUNDS, PREDICTION_BOUNDS
from service.monitoring.catalogue import CATALOGUE, ErrorType, FeedbackResult, Rejection
from service.monitoring.clicks import Click
from service.telemetry.errors import CountersUnavailableError
from service.telemetry.folder import MetricsFolder
from service.telemetry.metrics_file import MetricsFile
from service.telemetry.registry import registry_of

Values = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def folder(tmp_path: Path) -> MetricsFolder:
    return MetricsFolder.begin(tmp_path, 1_700_000_000.0)


def click(score: float, *, version: str = "1") -> Click:
    return Click(
        key=b"k",
        origin=0,
        model="m",
        version=version,
        milliseconds=0,
        prediction=score,
        experiment=0,
        cell=None,
    )


@pytest.fixture
def worker(folder: MetricsFolder) -> Iterator[Worker]:
    started = Worker(folder)
    yield started
    started.files.close()


def values(folder: MetricsFolder) -> Values:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in registry_of(folder).collect()
        for sample in family.samples
    }


def value(folder: MetricsFolder, name: str, **labels: str) -> float:
    found = [
        v
        for (n, ls), v in values(folder).items()
        if n == name and labels.items() <= dict(ls).items()
    ]
    assert found, name
    return math.fsum(found)


def test_every_series_exists_before_the_first_request(
    folder: MetricsFolder, worker: Worker
) -> None:
    before = values(folder).keys()

    worker.serve(0.01, 0.02)
    worker.model.failed(0.01, ErrorType.EXCEPTION)
    for reason in Rejection:
        worker.recorder.rejected(reason)

    born = {name for name, _ in values(folder).keys() - before}
    # A minimum of nothing is no number: only these three wait for a first value.
    assert born == {
        "ctr_request_duration_seconds_min",
        "ctr_request_duration_seconds_max",
        "ctr_prediction_ratio_last",
    }


def test_every_metric_of_the_catalogue_is_exposed_once_and_no_other(
    folder: MetricsFolder, worker: Worker
) -> None:
    worker.serve(0.01, 0.02)

    families = list(registry_of(folder).collect())

    exposed = [f.name + ("_total" if f.type == "counter" else "") for f in families]
    assert sorted(exposed) == sorted(metric.name for metric in CATALOGUE)
    judged = (
        "ctr_health",
        "ctr_bridge",
        "ctr_baseline",
        "ctr_drift",
        "ctr_experiment",
        "ctr_feature_drift",
        "ctr_feature_psi",
        "ctr_feature_unseen",
        "ctr_quality",
        "ctr_snapshot",
        "ctr_shadow",
    )  # shown once there is a judgement, or a shadow model
    assert all(family.samples for family in families if not family.name.startswith(judged))


def test_what_scores_a_version_is_shown_while_it_is_served(
    folder: MetricsFolder, worker: Worker
) -> None:
    def shown() -> dict[str, float]:
        return {
            dict(labels)["version"]: number
            for (name, labels), number in values(folder).items()
            if name == "ctr_model_evaluator_info" and ("evaluator", "forest") in labels
        }

    assert shown() == {"1": 1.0}

    worker.recorder.model(
        "m", version="2", kind="xgboost", evaluator="forest", vocabularies=VOCABULARIES
    )
    worker.model.retired()
    worker.recorder.flush()

    assert shown() == {"2": 1.0}


@given(scores=st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_losses_are_summed_as_scikit_learn_sums_them(
    tmp_path_factory: pytest.TempPathFactory, scores: list[float]
) -> None:
    folder = MetricsFolder.begin(tmp_path_factory.mktemp("metrics"), 1.0)
    worker = Worker(folder)
    worker.serve(0.01, *scores)
    worker.recorder.feedback({}, [click(score) for score in scores])
    found = {name: value for (name, _), value in values(folder).items()}
    worker.files.close()

    def loss(label: int) -> float:
        return float(log_loss([label] * len(scores), scores, labels=[0, 1], normalize=False))

    assert found["ctr_prediction_negative_log_complement_total"] == pytest.approx(loss(0))
    assert found["ctr_clicked_negative_log_complement_total"] == pytest.approx(loss(0))
    assert found["ctr_clicked_negative_log_total"] == pytest.approx(loss(1))


def test_assigned_users_are_counted_by_cell(folder: MetricsFolder, worker: Worker) -> None:
    worker.assigned.predicted([0, 63, 63])
    worker.recorder.flush()

    found = {
        dict(labels)["cell"]: value
        for (name, labels), value in values(folder).items()
        if name == "ctr_assigned_predictions_total"
    }
    assert len(found) == 64
    assert {cell: value for cell, value in found.items() if value} == {"0": 1, "63": 2}


def test_clicks_for_a_version_that_is_served_no_more_are_its_own(
    folder: MetricsFolder, worker: Worker
) -> None:
    worker.recorder.feedback({FeedbackResult.ACCEPTED: 2}, [click(0.1), click(0.1, version="0")])

    found = {
        dict(labels)["version"]: value
        for (name, labels), value in values(folder).items()
        if name == "ctr_clicks_total"
    }
    assert found == {"0": 1, "1": 1}


@given(
    durations=st.lists(st.floats(0, 20), min_size=1, max_size=30),
    scores=st.lists(st.floats(0, 1), min_size=1, max_size=30),
)
def test_bulk_recording_equals_prometheus_client_s_histogram(
    tmp_path_factory: pytest.TempPathFactory, durations: list[float], scores: list[float]
) -> None:
    folder = MetricsFolder.begin(tmp_path_factory.mktemp("metrics"), 1.0)
    worker = Worker(folder)
    for seconds in durations:
        worker.serve(seconds, *scores)
    worker.recorder.feedback({}, [click(score) for score in scores])
    own = {
        (name, dict(labels)["le"]): v
        for (name, labels), v in values(folder).items()
        if name.endswith("_bucket")
    }
    worker.files.close()

    registry = CollectorRegistry()
    latency = Histogram(
        "ctr_request_duration_seconds", "x", buckets=LATENCY_BOUNDS, registry=registry
    )
    ratio = Histogram("ctr_prediction_ratio", "x", buckets=PREDICTION_BOUNDS, registry=registry)
    clicked = Histogram(
        "ctr_clicked_prediction_ratio", "x", buckets=PREDICTION_BOUNDS, registry=registry
    )
    for score in scores:
        clicked.observe(score)
    for seconds in durations:
        latency.observe(seconds)
        for score in scores:
            ratio.observe(score)
    stock = {
        (sample.name, sample.labels["le"]): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name.endswith("_bucket")
    }
    assert own == stock


@settings(max_examples=25)
@given(
    durations=st.lists(st.floats(0, 20), min_size=1, max_size=40),
    scores=st.lists(st.floats(0, 1), min_size=40, max_size=40),
    failures=st.integers(0, 3),
)
def test_a_turn_counts_as_its_requests_one_by_one(
    tmp_path_factory: pytest.TempPathFactory,
    durations: list[float],
    scores: list[float],
    failures: int,
) -> None:
    path = tmp_path_factory.mktemp("metrics")
    together, apart = (Worker(MetricsFolder.begin(path, at)) for at in (1.0, 2.0))
    rows = np.array(scores[: len(durations)])
    drawn = np.column_stack([rows > 0.5, rows > 0.1]).astype(np.int64)
    together.model.started(len(durations))
    together.model.answered(durations, rows, drawn)
    for number, seconds in enumerate(durations):
        one = slice(number, number + 1)
        apart.model.started()
        apart.model.answered([seconds], rows[one], drawn[one])
    for worker in (together, apart):
        for _ in range(failures):
            worker.model.started()
            worker.model.failed(0.5, ErrorType.EXCEPTION)
        worker.files.close()

    found, expected = ({**values(MetricsFolder(path / at))} for at in ("1000", "2000"))
    for began, of_one in ((1.0, found), (2.0, expected)):
        assert of_one.pop(("ctr_counters_began_timestamp_seconds", frozenset())) == began
    assert found == pytest.approx(expected, rel=1e-12)
    folder = MetricsFolder(path / "1000")
    requests = value(folder, "ctr_requests_total")
    assert requests == len(durations) + failures
    assert requests == value(folder, "ctr_request_duration_seconds_count")
    assert requests == value(folder, "ctr_request_duration_seconds_bucket", le="+Inf")
    assert len(rows) == value(folder, "ctr_prediction_ratio_count")


def test_sums_of_squares_give_the_exact_standard_deviation(
    folder: MetricsFolder, worker: Worker
) -> None:
    scores = np.random.default_rng(1).beta(2, 80, 5000)
    worker.serve(0.01, *scores)

    n = value(folder, "ctr_prediction_ratio_count")
    mean = value(folder, "ctr_prediction_ratio_sum") / n
    variance = value(folder, "ctr_prediction_ratio_squared_total") / n - mean**2
    assert mean == pytest.approx(scores.mean(), rel=1e-12)
    assert math.sqrt(variance) == pytest.approx(scores.std(), rel=1e-9)


def test_minimum_maximum_and_last_are_those_of_all_workers(folder: MetricsFolder) -> None:
    first, second = Worker(folder), Worker(folder)
    first.serve(0.5, 0.1)
    second.serve(0.2, 0.3)
    first.serve(0.9, 0.2)

    assert value(folder, "ctr_request_duration_seconds_min") == 0.2
    assert value(folder, "ctr_request_duration_seconds_max") == 0.9
    assert value(folder, "ctr_prediction_ratio_last") == 0.2
    first.files.close()
    second.files.close()


def test_a_stock_multiprocess_collector_reads_the_same_numbers(folder: MetricsFolder) -> None:
    workers = [Worker(folder), Worker(folder)]
    for number, worker in enumerate(workers):
        worker.serve(0.01 * (number + 1), 0.02, 0.03)
    own = values(folder)

    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder.path))
    stock = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in registry.collect()
        for sample in family.samples
    }
    computed_on_reading = {"ctr_counters_began_timestamp_seconds", "ctr_metrics_unreadable_files"}
    assert {key: v for key, v in own.items() if key[0] not in computed_on_reading} == stock
    for worker in workers:
        worker.files.close()


def test_what_a_killed_worker_recorded_stays_but_it_is_not_in_progress(
    folder: MetricsFolder, worker: Worker
) -> None:
    worker.serve(0.5, 0.5)
    kill_a_worker(folder)

    assert value(folder, "ctr_requests_total", outcome="success") == 2
    assert value(folder, "ctr_request_duration_seconds_min") == 0.25
    assert value(folder, "ctr_requests_in_progress") == 0


def test_folding_dead_workers_changes_no_number_and_keeps_the_folder_small(
    folder: MetricsFolder, worker: Worker
) -> None:
    worker.serve(0.5, 0.5)
    for _ in range(3):
        kill_a_worker(folder)
    before = values(folder)

    successor = Worker(folder)

    assert values(folder) == before
    assert value(folder, "ctr_requests_total", outcome="success") == 4
    locks = [path for path in folder.path.glob("*.lock") if path.name != "fold.lock"]
    assert len(locks) == 2
    successor.files.close()


def test_a_crash_between_folding_and_deleting_counts_nothing_twice(
    folder: MetricsFolder,
) -> None:
    kill_a_worker(folder)
    left_behind = {p: p.read_bytes() for p in folder.path.glob("*_*.db")}
    before = values(folder)
    folder.join().close()
    for path, content in left_behind.items():
        path.write_bytes(content)

    assert values(folder) == before
    folder.join().close()
    assert values(folder) == before


@pytest.mark.parametrize("content", [b"", b"\xff" * 4096, b"\x40\x00\x00\x00" + b"\x07" * 60])
def test_an_unreadable_file_is_left_out_and_counted(
    folder: MetricsFolder, worker: Worker, content: bytes
) -> None:
    worker.serve(0.5, 0.5)
    (folder.path / "counter_1-dead.db").write_bytes(content)

    assert value(folder, "ctr_metrics_unreadable_files") == 1
    assert value(folder, "ctr_requests_total", outcome="success") == 1


KEY = '["ctr_requests", "ctr_requests_total", {"model": "m", "version": "1"}, ""]'
KEYS_OF_NONE = {
    "deep": "[" * 20_000,
    "no name": '["ctr_requests", null, {"model": "m", "version": "1"}, ""]',
    "no version": '["ctr_requests", "ctr_requests_total", {"model": "m"}, ""]',
    "a number": '["ctr_requests", "ctr_requests_total", {"model": 1, "version": "1"}, ""]',
    "half a letter": KEY.replace('"m"', '"\\ud800"'),
    "no bound": KEY.replace('"m"', '"m", "le": "nan"'),
}


@pytest.mark.parametrize("key", KEYS_OF_NONE.values(), ids=KEYS_OF_NONE.keys())
def test_a_key_that_nobody_can_have_written_makes_its_file_unreadable(
    folder: MetricsFolder, worker: Worker, key: str
) -> None:
    worker.serve(0.5, 0.5)
    MetricsFile(folder.path / "counter_1-dead.db").place(key, 1.0, 1.0)

    assert value(folder, "ctr_metrics_unreadable_files") == 1
    assert value(folder, "ctr_requests_total", outcome="success") == 1


@pytest.mark.parametrize("count", [-1.0, math.nan, math.inf, 1e300])
def test_a_count_that_nobody_can_have_counted_makes_its_file_unreadable(
    folder: MetricsFolder, worker: Worker, count: float
) -> None:
    worker.serve(0.5, 0.5)
    MetricsFile(folder.path / "counter_1-dead.db").place(KEY, count, 1.0)

    assert value(folder, "ctr_metrics_unreadable_files") == 1
    assert value(folder, "ctr_requests_total", outcome="success") == 1


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", "{}", "[" * 20_000),
        json.dumps({"files": [], "readings": {"counter": {KEY: [10**400, 1]}}}),
        json.dumps({"files": [], "readings": {"counter": {KEY: [-1, 1]}}}),
        json.dumps({"files": [], "readings": {"counter": {KEY: [1, math.nan]}}}),
    ],
)
def test_a_damaged_fold_is_left_out_and_counted_too(
    folder: MetricsFolder, worker: Worker, content: str
) -> None:
    worker.serve(0.5, 0.5)
    (folder.path / "folded.json").write_text(content)

    assert value(folder, "ctr_metrics_unreadable_files") == 1
    assert value(folder, "ctr_requests_total", outcome="success") == 1

    # Still so when others have come and gone: the counts are missing all the same.
    successor = Worker(folder)
    successor.serve(0.5, 0.5)
    kill_a_worker(folder)
    Worker(folder).files.close()

    assert value(folder, "ctr_metrics_unreadable_files") == 1
    assert value(folder, "ctr_requests_total", outcome="success") == 3
    successor.files.close()


@contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    taken = [os.open(os.devnull, os.O_RDONLY) for _ in range(count + 1)]
    last = max(taken)
    for descriptor in taken:
        os.close(descriptor)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (last, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("left", [0, 1])
def test_without_descriptors_counters_are_unknown_and_not_fewer(
    folder: MetricsFolder, worker: Worker, left: int
) -> None:
    kill_a_worker(folder)
    Worker(folder).files.close()
    worker.serve(0.5, 0.5)
    before = value(folder, "ctr_requests_total", outcome="success")

    with descriptors_left(left), pytest.raises(CountersUnavailableError, match="Too many open"):
        folder.read()

    assert value(folder, "ctr_requests_total", outcome="success") == before
    assert value(folder, "ctr_metrics_unreadable_files") == 0


def test_an_empty_file_of_a_dead_worker_is_swept_up(folder: MetricsFolder) -> None:
    (folder.path / "counter_1-dead.db").touch()

    Worker(folder).files.close()

    assert value(folder, "ctr_metrics_unreadable_files") == 0


def test_the_epoch_began_when_its_folder_says(folder: MetricsFolder) -> None:
    assert value(folder, "ctr_counters_began_timestamp_seconds") == 1_700_000_000.0
    assert MetricsFolder.latest(folder.path.parent).path == folder.path
