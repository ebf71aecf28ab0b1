"""Quick readings equal plain ones, whatever workers do, and however their files are damaged."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from plain_reading import plain_registry
from prometheus_client import Metric, generate_latest
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from benchmarks.recording import microseconds
from service.monitoring import catalogue
from service.monitoring.catalogue import CATALOGUE, ErrorType, FeedbackResult
from service.monitoring.clicks import Click
from service.monitoring.snapshot import Series
from service.telemetry.folder import MetricsFolder
from service.telemetry.recorder import ModelRecorder, Recorder
from service.telemetry.registry import FolderRegistry, registry_of
from service.telemetry.series import ABSENT
from service.telemetry.series import Series as Recorded

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
"""What Prometheus 3 sends."""
ACCEPTED = (
    "",
    "*/*",
    PROMETHEUS,
    "application/openmetrics-text",
    "application/openmetrics-text;version=1.0.0",
    "text/plain;version=1.0.0;escaping=underscores",
)
VOCABULARIES = {"device": ("mobile", 'a "quoted" %s\\'), "hour": ("line\nbreak", "\u2028")}


class Worker:
    """A worker that lives in this process."""

    def __init__(self, folder: MetricsFolder) -> None:
        self.files = folder.join()
        self.recorder = Recorder(self.files)
        self.models: dict[str, ModelRecorder] = {}
        self.gauges: dict[catalogue.Metric, Recorded] = {}

    def model(self, version: str) -> ModelRecorder:
        if version not in self.models:
            self.models[version] = self.recorder.model(
                "m", version=version, kind="x", evaluator="forest", vocabularies=VOCABULARIES
            )
        return self.models[version]

    def show(self, metric: catalogue.Metric, value: float) -> None:
        if metric not in self.gauges:
            labels = dict.fromkeys(metric.labels, "1") | {"model": "m"}
            labels = {label: labels[label] for label in metric.labels}
            self.gauges[metric] = self.files.series(metric, labels, value=value)
        else:
            self.gauges[metric].set(value)

    def turn(self, rng: np.random.Generator, version: str) -> None:
        requests, rows = rng.integers(1, 20).item(), rng.integers(1, 100).item()
        model = self.model(version)
        model.started(requests)
        model.answered(
            rng.lognormal(-5, 2, requests).tolist(),
            rng.beta(2, 80, rows),
            rng.integers(0, 2, (rows, 2)),
        )
        self.recorder.flush()


@pytest.fixture
def folder(tmp_path: Path) -> MetricsFolder:
    return MetricsFolder.begin(tmp_path, 1_700_000_000.0)


def click(score: float, version: str) -> Click:
    return Click(b"k", 0, "m", version, 0, score, 0, None)


def samples(registry: FolderRegistry) -> Mapping[Series, float]:
    return {
        Series(sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in registry.collect()
        for sample in family.samples
    }


class Families(Collector):
    """What was collected once."""

    def __init__(self, source: Collector) -> None:
        self.found = list(source.collect())

    def collect(self) -> Iterator[Metric]:
        yield from self.found


def assert_equal_to_plain(
    registry: FolderRegistry,
    folder: MetricsFolder,
    *,
    shown_only: bool = False,
    accepted: Sequence[str] = ("", PROMETHEUS),
) -> None:
    plain = Families(plain_registry(folder.path, shown_only=shown_only))
    for accept in accepted:
        encode, content_type = choose_encoder(accept)
        text, own_type = registry.exposition(accept)
        assert (text.decode().split("\n"), own_type) == (
            encode(plain).decode().split("\n"),
            content_type,
        )
    assert [vars(family) for family in registry.collect()] == [vars(f) for f in plain.found]
    snapshot = registry.snapshot(5.0)
    for kinds, found in (
        ({"gauge"}, snapshot.gauges),
        ({"counter", "histogram"}, snapshot.counters),
    ):
        assert found == {
            Series(sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in plain.found
            if family.type in kinds
            for sample in family.samples
        }
    assert snapshot.at == 5.0
    assert snapshot.epoch == folder.began


class Damage:
    """Files that are damaged, and what was in them."""

    def __init__(self) -> None:
        self._before: dict[Path, bytes] = {}

    def some_file(self, folder: Path, rng: np.random.Generator) -> None:
        file = rng.choice(np.array(sorted(folder.glob("*_*.db")), dtype=object))
        content = file.read_bytes()
        used = int.from_bytes(content[:4], "little", signed=True)
        if file in self._before or used < 100:
            return
        self._before[file] = content
        place = int(rng.integers(8, used - 64))
        damaged = {
            "cut short": content[:place],
            "garbage in the middle": content[:place] + b"\xff" * 64 + content[place + 64 :],
            "no header": bytes(8) + content[8:],
            "header of another file": (1 << 20).to_bytes(4, "little") + content[4:],
            "empty": b"",
        }
        file.write_bytes(damaged[str(rng.choice(list(damaged)))])

    def repair(self) -> None:
        for file, content in self._before.items():
            if file.exists():
                file.write_bytes(content)
        self._before.clear()


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_every_reading_equals_a_plain_one(
    folder: MetricsFolder, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    every, shown = registry_of(folder), registry_of(folder, shown_only=True)
    workers = [Worker(folder)]
    shown_by_tick = [m for m in CATALOGUE if m.kind == "gauge" and m.merge == "mostrecent"]
    for _ in range(15):
        worker = workers[rng.integers(len(workers))]
        version = str(rng.integers(6))
        match rng.integers(8):
            case 0:
                workers.append(Worker(folder))  # folds those that are dead
            case 1 if len(workers) > 1:
                workers.remove(worker)
                worker.files.close()
            case 2:
                worker.model(version).started()
                worker.model(version).failed(rng.random(), ErrorType.EXCEPTION)
            case 3:
                worker.recorder.feedback({FeedbackResult.ACCEPTED: 1}, [click(0.2, version)])
            case 4:
                for metric in rng.choice(np.array(shown_by_tick, dtype=object), 5):
                    worker.show(metric, rng.choice([ABSENT, 0.0, -1.5, 1e6, 12345678.9, 1e16]))
            case 5 if worker.models:
                worker.models[str(rng.choice(list(worker.models)))].retired()
            case _:
                worker.turn(rng, version)
        assert_equal_to_plain(every, folder)
        assert_equal_to_plain(shown, folder, shown_only=True)
    for worker in workers:
        worker.files.close()


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_file_is_left_out_and_counted_until_it_is_whole_again(
    folder: MetricsFolder, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    registry = registry_of(folder)
    for version in "12":
        dead = Worker(folder)
        dead.turn(rng, version)
        files = sorted(folder.path.glob("*_*.db"))
    survivors = {file: file.read_bytes() for file in files}
    dead.files.close()
    # In one process a mapped file must not be cut short: copies of it are damaged.
    for file, content in survivors.items():
        file.unlink()
        file.write_bytes(content)
    whole = samples(registry)

    damage = Damage()
    for _ in range(8):
        damage.some_file(folder.path, rng)
        assert_equal_to_plain(registry, folder)
    assert registry.snapshot(1.0).gauges[Series("ctr_metrics_unreadable_files", ())] > 0
    damage.repair()
    assert samples(registry) == whole


NUMBERS = (
    *(0.0, -0.0, 0.1, 1e-7, 999999.9999999999, 1e6, -1e6, -12345678.5, 123456789.125),
    *(1e15, 1e16, 1.5e300, 5e-324, float("inf"), -float("inf")),
)


def test_a_number_is_written_as_prometheus_client_writes_it(folder: MetricsFolder) -> None:
    files = folder.join()
    gauge = files.series(catalogue.BRIDGE_LAG, {})
    registry = registry_of(folder)

    for number in NUMBERS:
        gauge.set(number)
        assert_equal_to_plain(registry, folder, accepted=ACCEPTED)
    files.close()


def test_a_gauge_that_becomes_absent_is_gone_and_comes_back(folder: MetricsFolder) -> None:
    files = folder.join()
    gauges = [
        files.series(metric, {}) for metric in (catalogue.BRIDGE_LAG, catalogue.BRIDGE_REFUSED)
    ]
    registry = registry_of(folder)

    for shown in ((1.0, 2.0), (ABSENT, 2.0), (1.0, ABSENT), (ABSENT, ABSENT), (3.0, 4.0)):
        for gauge, value in zip(gauges, shown, strict=True):
            gauge.set(value)
        assert_equal_to_plain(registry, folder)
        assert b" nan" not in registry.exposition("")[0].lower()
    files.close()


def test_formats_that_a_client_makes_up_are_answered_too(folder: MetricsFolder) -> None:
    registry = registry_of(folder)

    for minor in range(100):
        accept = f"application/openmetrics-text;version=1.{minor}"
        encode, content_type = choose_encoder(accept)
        assert registry.exposition(accept) == (encode(registry), content_type)


def test_lives_of_workers_leave_no_open_files_behind(folder: MetricsFolder) -> None:
    def life() -> None:
        worker = Worker(folder)
        worker.turn(np.random.default_rng(1), "1")
        assert_equal_to_plain(registry, folder)
        worker.files.close()

    registry = registry_of(folder)
    life()
    open_before, mapped_before = _open_files(), _mapped(folder.path)
    for _ in range(10):
        life()

    assert _open_files() == open_before
    assert _mapped(folder.path) <= mapped_before


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _mapped(folder: Path) -> int:
    return Path("/proc/self/maps").read_text().count(str(folder))


def test_threads_read_at_once_while_series_appear(folder: MetricsFolder) -> None:
    worker = Worker(folder)
    worker.model("0")
    registry = registry_of(folder)
    rng = np.random.default_rng(1)

    def read(_: int) -> float:
        snapshot = registry.snapshot(1.0)
        assert snapshot.gauges[Series("ctr_metrics_unreadable_files", ())] == 0
        assert registry.exposition(PROMETHEUS)[0].endswith(b"# EOF\n")
        return sum(v for s, v in snapshot.counters.items() if s.name == "ctr_requests_total")

    with ThreadPoolExecutor(4) as pool:
        readings = pool.map(read, range(60))
        for version in map(str, range(20)):
            worker.turn(rng, version)
        totals = list(readings)
    assert max(totals) <= read(0)
    assert_equal_to_plain(registry, folder)
    worker.files.close()


def test_a_scrape_costs_less_than_half_of_what_writing_its_text_anew_would(
    folder: MetricsFolder,
) -> None:
    worker = Worker(folder)
    for version in "12":
        worker.turn(np.random.default_rng(1), version)
    registry = registry_of(folder)

    own = microseconds(lambda: registry.exposition(PROMETHEUS))

    assert own < microseconds(lambda: generate_latest(registry)) / 2
    worker.files.close()
