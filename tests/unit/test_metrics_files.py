"""Metrics files that grow while others read them, and whose writer is killed."""

import multiprocessing
import resource
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from multiprocessing.synchronize import Semaphore
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

from benchmarks.recording import VOCABULARIES, Turn, microseconds
from service.monitoring import catalogue
from service.monitoring.snapshot import Series
from service.telemetry.folder import MetricsFolder
from service.telemetry.metrics_file import MetricsFile
from service.telemetry.recorder import Recorder
from service.telemetry.registry import registry_of
from service.telemetry.series import WorkerFiles

ENOUGH = 1500
"""So many series that their file has doubled its size several times."""
AT_ONCE = 100


@pytest.fixture
def folder(tmp_path: Path) -> MetricsFolder:
    return MetricsFolder.begin(tmp_path, 1_700_000_000.0)


def labels(number: int) -> dict[str, str]:
    return {"model": "m", "version": "1", "feature": "ad", "value": str(number)}


def _grow(path: Path, turns: Semaphore) -> None:
    files = MetricsFolder(path).join()
    for number in count():
        if number % AT_ONCE == 0:
            turns.acquire()
        files.series(catalogue.FEATURE_VALUES, labels(number), value=number + 0.5)


@contextmanager
def growing(folder: MetricsFolder) -> Iterator[Callable[[], None]]:
    """Start a worker whose file grows further at every call, while the caller goes on."""
    spawn = multiprocessing.get_context("spawn")
    turns = spawn.Semaphore(0)
    process = spawn.Process(target=_grow, args=(folder.path, turns))
    process.start()

    def grow() -> None:
        assert process.is_alive()
        turns.release()

    yield grow
    process.kill()
    process.join()


def by_number(folder: MetricsFolder) -> list[float]:
    """Read the values by number, no file being damaged."""
    snapshot = registry_of(folder).snapshot(1.0)
    assert snapshot.gauges[Series("ctr_metrics_unreadable_files", ())] == 0
    found = {
        int(dict(series.labels)["value"]): value
        for series, value in snapshot.counters.items()
        if series.name == "ctr_feature_values_total"
    }
    return [found[number] for number in range(len(found))]


def stock_by_number(folder: MetricsFolder) -> list[float]:
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder.path))
    found = {
        int(sample.labels["value"]): sample.value
        for family in registry.collect()
        for sample in family.samples
    }
    return [found[number] for number in range(len(found))]


def test_a_file_that_grows_shows_every_reader_finished_entries_only(
    folder: MetricsFolder,
) -> None:
    sizes = [0]
    with growing(folder) as grow:
        while sizes[-1] < ENOUGH:
            grow()
            for read in (by_number, stock_by_number):
                found = read(folder)
                assert found == [number + 0.5 for number in range(len(found))]
                sizes.append(len(found))

    assert sizes == sorted(sizes)


def test_a_worker_killed_while_its_file_grows_leaves_all_that_it_had_finished(
    folder: MetricsFolder,
) -> None:
    before: list[float] = []
    with growing(folder) as grow:
        while len(before) < ENOUGH:
            grow()
            before = by_number(folder)
        for _ in range(20):
            grow()

    left = by_number(folder)
    assert left == [number + 0.5 for number in range(len(left))]
    assert len(left) >= len(before)
    assert stock_by_number(folder) == left
    folder.join().close()
    assert by_number(folder) == left


def test_a_death_at_any_step_of_growing_leaves_a_file_that_both_readers_read(
    folder: MetricsFolder,
) -> None:
    path = folder.path / "counter_1-dead.db"
    files = WorkerFiles(folder.path)
    files.series(catalogue.FEATURE_VALUES, labels(0), value=0.5)
    [own] = folder.path.glob("counter_*.db")
    one = own.read_bytes()
    files.series(catalogue.FEATURE_VALUES, labels(1), value=1.5)
    two = own.read_bytes()
    files.close()
    own.unlink()

    for steps, expected in (
        (one, [0.5]),
        (one + bytes(len(one)), [0.5]),
        (one[:8] + two[8:], [0.5]),
        (two, [0.5, 1.5]),
    ):
        path.write_bytes(steps)
        assert by_number(folder) == stock_by_number(folder) == expected


def test_a_file_has_a_header_before_its_name_and_an_entry_its_value_before_it_counts(
    tmp_path: Path,
) -> None:
    """An entry without its first value would show a gauge at 0, and a minimum would stay there."""
    path = tmp_path / "gauge_min_1.db"
    before_publishing = []

    class Watched(MetricsFile):
        def _publish(self) -> None:
            before_publishing.append(path.read_bytes() if path.exists() else None)
            super()._publish()

    file = Watched(path)
    place = file.place("key", 0.25, 2.0)
    unnamed, unpublished = before_publishing
    assert unnamed is None
    assert unpublished is not None
    assert struct.unpack_from("i", unpublished) == (8,)
    assert struct.unpack_from("dd", unpublished, place * 8) == (0.25, 2.0)
    assert struct.unpack_from("i", path.read_bytes()) == (place * 8 + 16,)
    file.close()


def test_what_is_mapped_has_its_room_on_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "counter_1.db"
    file = MetricsFile(path)

    for key in range(5000):
        found = path.stat()
        assert found.st_blocks * 512 >= found.st_size, "to write to a hole of a full disk is SIGBUS"
        file.place(f"key {key}", 0.0, 0.0)
    file.close()


def test_a_disk_without_room_refuses_a_series_and_keeps_those_there_are(tmp_path: Path) -> None:
    path = tmp_path / "counter_1.db"
    file = MetricsFile(path)
    few = [file.place(f"key {key}", float(key), 0.0) for key in range(100)]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, before[1]))
    try:
        # There is room for some more in the file.
        few += [file.place(f"key {key}", float(key), 0.0) for key in range(100, 1000)]
        with pytest.raises(OSError, match="too large"):
            file.place("x" * path.stat().st_size, 0.0, 0.0)
        for place in few:
            file.memory[place] += 0.5
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    stored = MmapedDict.read_all_values_from_file(str(path))
    values = {key: value for key, value, _, _ in stored}
    assert {key: values[f"key {key}"] for key in range(1000)} == {
        key: key + 0.5 for key in range(1000)
    }
    file.place("when there is room again", 1.0, 0.0)
    file.close()


@pytest.mark.parametrize("key", ["", "a", "abcd", "12345678", "ä" * 7, "x" * 100_000])
def test_entries_are_those_of_prometheus_client(tmp_path: Path, key: str) -> None:
    own, stock = MetricsFile(tmp_path / "counter_1.db"), MmapedDict(str(tmp_path / "counter_2.db"))
    for number in range(3):
        own.place(f"{key}{number}", number + 0.25, number + 0.75)
        stock.write_value(f"{key}{number}", number + 0.25, number + 0.75)
    own.close()
    stock.close()

    written, expected = [(tmp_path / f"counter_{i}.db").read_bytes() for i in (1, 2)]
    assert written == expected


def test_what_was_taken_before_a_file_grew_is_still_written_to(folder: MetricsFolder) -> None:
    files = folder.join()
    early = files.series(catalogue.FEATURE_VALUES, labels(0))
    block = files.block(catalogue.FEATURE_VALUES, map(labels, (1, 2)))
    for number in range(3, ENOUGH):
        files.series(catalogue.FEATURE_VALUES, labels(number))

    early.increase(7)
    block.count(np.array([1, 1]))
    block.count_few([0])

    assert by_number(folder)[:4] == [7, 1, 2, 0]
    files.close()


@pytest.mark.parametrize("rows", [1, 2, 4, 5, 16, 1000])
def test_values_of_features_are_counted_one_for_each_prediction(
    folder: MetricsFolder, rows: int
) -> None:
    rng = np.random.default_rng(rows)
    vocabularies = {"device": ("a", "b", "c"), "hour": tuple(map(str, range(24)))}
    drawn = np.column_stack([rng.integers(0, len(v), rows) for v in vocabularies.values()])
    files = folder.join()
    model = Recorder(files).model(
        "m", version="1", kind="x", evaluator="forest", vocabularies=vocabularies
    )

    model.answered([0.1], np.full(rows, 0.5), drawn)

    expected = Counter(
        (feature, vocabularies[feature][index])
        for row in drawn.tolist()
        for feature, index in zip(vocabularies, row, strict=True)
    )
    found = {
        (dict(series.labels)["feature"], dict(series.labels)["value"]): value
        for series, value in registry_of(folder).snapshot(1.0).counters.items()
        if series.name == "ctr_feature_values_total"
    }
    assert {of: value for of, value in found.items() if value} == expected
    files.close()


def test_an_epoch_was_last_written_to_at_its_last_flush(folder: MetricsFolder) -> None:
    now = [50.0]
    files = WorkerFiles(folder.path, clock=lambda: now[0])
    model = Recorder(files).model("m", version="1", kind="x", evaluator="forest", vocabularies={})
    now[0] = 60.0
    model.started()
    files.flush()
    now[0] = 70.0
    files.close()

    assert folder.read().last_written == 60.0
    folder.join().close()
    assert MetricsFolder(folder.path).read().last_written == 60.0


def test_the_requests_of_a_turn_cost_little_more_than_one(folder: MetricsFolder) -> None:
    files = folder.join()
    recorder = Recorder(files)
    model = recorder.model(
        "m", version="1", kind="x", evaluator="forest", vocabularies=VOCABULARIES
    )

    one, sixteen = (microseconds(Turn(recorder, model, n, n).record) for n in (1, 16))

    assert sixteen < 6 * one
    files.close()
