"""Releases between workers that are slow, silent, killed or unable: all of them switch, or none."""

import asyncio
import errno
import gc
import os
import random
import shutil
import signal
import sys
import threading
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_versions import first_version, next_version, without_a_score
from starlette.types import ASGIApp, Message

from service.app import create_app
from service.monitoring.counts import ModelVersion
from service.monitoring.snapshot import Series
from service.monitoring.versions import retired_versions, shown
from service.prediction.model_folder import (
    current_version,
    load_bundle,
    make_current,
    write_bundle,
)
from service.prediction.release import ReleaseRefusedError
from service.prediction.release_plan import ReleasePlan, plan_rollback
from service.prediction.release_store import (
    Acknowledgement,
    Pointer,
    ReleaseBusyError,
    ReleaseStore,
    Stand,
)
from service.prediction.serving import Serving
from service.release_follower import ReleaseFollower
from service.releasing import Released, Releases, ReleaseTimeoutError, reloading_on_hangup
from service.settings import Settings
from service.telemetry.folder import MetricsFolder
from service.telemetry.recorder import Recorder
from service.telemetry.reservoir import Reservoir


@dataclass
class Instance:
    """Workers of one instance; those that are not running hold a lock and say nothing."""

    models: Path
    store: ReleaseStore
    metrics: MetricsFolder
    open: ExitStack
    workers: list[Serving] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    followers: list[ReleaseFollower] = field(default_factory=list)

    def add_worker(self, name: str) -> Serving:
        files = self.metrics.join()
        self.open.callback(files.close)
        serving = Serving(
            self.store.serving(),
            recorder=Recorder(files),
            reservoir=lambda model: Reservoir(
                model, window_seconds=300, most=1, rng=random.Random(1)
            ),
        )
        self.workers.append(serving)
        self.names.add(name)
        follower = ReleaseFollower(store=self.store, serving=serving, worker=name)
        self.followers.append(follower)
        return serving

    def releases(self, *, ready: float = 20, serve: float = 20) -> Releases:
        return Releases(
            store=self.store,
            models_dir=self.models,
            experiment_file=None,
            workers=lambda: frozenset(self.names),
            ready_seconds=ready,
            serving_seconds=serve,
        )

    def release(self, releases: Releases | None = None, only: str | None = None) -> Released:
        """Reload while the followers run."""
        return self.followed((releases or self.releases()).reload(only))

    def followed(self, change: Coroutine[None, None, Released]) -> Released:
        async def run() -> Released:
            following = [asyncio.create_task(follower.run()) for follower in self.followers]
            try:
                return await change
            finally:
                for task in following:
                    task.cancel()
                await asyncio.gather(*following, return_exceptions=True)

        return asyncio.run(run())

    @property
    def versions(self) -> list[str]:
        return [serving.versions["logistic"] for serving in self.workers]


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Instance]:
    monkeypatch.chdir(tmp_path)  # where there is no experiment.toml
    first_version(tmp_path / "models")
    store = ReleaseStore(tmp_path / "releases")
    store.begin(tmp_path / "models", None)
    with ExitStack() as opened:
        yield Instance(
            tmp_path / "models", store, MetricsFolder.begin(tmp_path / "metrics", 1.0), opened
        )


def test_all_workers_switch(instance: Instance) -> None:
    instance.add_worker("a")
    instance.add_worker("b")
    old = current_version(instance.models / "logistic")
    new = next_version(instance.models).version

    released = instance.release()

    assert instance.versions == [new, new]
    assert [(m.version, m.previous_version) for m in released.loaded] == [(new, old)]
    assert (released.workers, released.behind) == (2, [])
    assert instance.store.pointer() == Pointer(2, newest=2)


def test_a_worker_that_does_not_get_ready_stops_the_release_for_all(instance: Instance) -> None:
    instance.add_worker("a")
    instance.names.add("silent")
    before = instance.versions
    next_version(instance.models)

    with pytest.raises(ReleaseTimeoutError, match="silent were not ready within"):
        instance.release(instance.releases(ready=0.5))

    assert instance.versions == before
    assert instance.store.pointer() == Pointer(1, newest=2)
    assert instance.store.serving().generation == 1


def test_a_worker_that_dies_while_it_gets_ready_is_waited_for_no_longer(
    instance: Instance,
) -> None:
    instance.add_worker("a")
    instance.names.add("dying")
    new = next_version(instance.models).version
    death = threading.Timer(0.5, instance.names.discard, ["dying"])
    death.start()

    released = instance.release()

    death.join()
    assert instance.versions == [new]
    assert released.workers == 1


def test_what_one_worker_cannot_load_no_worker_serves(instance: Instance) -> None:
    instance.add_worker("a")
    instance.names.add("full")
    before = instance.versions
    next_version(instance.models)
    refusal = Acknowledgement(Stand.REFUSED, "no memory is left")
    # As if it were another process: it says so as soon as it is asked.
    asked = threading.Event()

    def refuse() -> None:
        while not asked.is_set():
            instance.store.acknowledge(2, "full", refusal)

    other = threading.Thread(target=refuse)
    other.start()
    try:
        with pytest.raises(ReleaseRefusedError, match="no memory is left"):
            instance.release()
    finally:
        asked.set()
        other.join()

    assert instance.versions == before
    assert instance.store.pointer() == Pointer(1, newest=2)


def test_a_worker_that_does_not_switch_in_time_is_named(instance: Instance) -> None:
    instance.add_worker("a")
    instance.names.add("slow")
    new = next_version(instance.models).version
    asked = threading.Event()

    def get_ready() -> None:
        while not asked.is_set():
            instance.store.acknowledge(2, "slow", Acknowledgement(Stand.READY))

    other = threading.Thread(target=get_ready)
    other.start()
    try:
        released = instance.release(instance.releases(serve=0.5))
    finally:
        asked.set()
        other.join()

    assert instance.versions == [new]
    assert (released.workers, released.behind) == (1, ["slow"])
    assert "1 workers do not serve it yet" in str(released)


def test_a_release_right_after_one_that_was_refused_is_another_one(instance: Instance) -> None:
    instance.add_worker("a")
    broken = without_a_score(instance.models)

    async def run() -> Released:
        following = asyncio.create_task(instance.followers[0].run())
        releases = instance.releases()
        try:
            with pytest.raises(ReleaseRefusedError, match="answers nan"):
                await releases.reload(None)
            make_current(instance.models / "logistic", instance.versions[0])
            return await releases.reload(None)  # before any worker has looked again
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    released = asyncio.run(run())

    assert released.generation == 3
    assert instance.versions != [broken.version]


def test_one_model_is_released_alone_and_goes_back_alone(instance: Instance) -> None:
    first_version(instance.models, "other")
    worker = instance.add_worker("a")
    instance.release()
    old = worker.versions
    new = {name: next_version(instance.models, name).version for name in ("logistic", "other")}

    released = instance.release(only="logistic")

    assert [model.name for model in released.loaded] == ["logistic"]
    assert worker.versions == {"logistic": new["logistic"], "other": old["other"]}
    # What stays is linked, so it can be deleted where it came from.
    shutil.rmtree(instance.models / "other")
    instance.followed(instance.releases().rollback("logistic"))
    assert worker.versions == old


def test_a_rollback_that_a_restart_would_undo_is_refused(instance: Instance) -> None:
    instance.add_worker("a")
    next_version(instance.models)
    instance.release()
    before = instance.versions
    (instance.models / "logistic/.CURRENT").mkdir()  # where the new pointer is written first

    with pytest.raises(ReleaseRefusedError, match="a restart would undo the rollback; write 2026"):
        instance.followed(instance.releases().rollback("logistic"))

    assert instance.versions == before
    assert instance.store.serving().generation == 2


def test_one_release_at_a_time(instance: Instance) -> None:
    instance.add_worker("a")
    with instance.store.exclusive(), pytest.raises(ReleaseBusyError):
        instance.release()


def test_what_a_killed_worker_had_proposed_does_not_hinder_the_next_release(
    instance: Instance,
) -> None:
    plan = instance.store.plan(1)
    instance.store.propose(instance.store.stage(plan))  # and here it is killed
    instance.add_worker("a")
    new = next_version(instance.models).version

    assert instance.release().generation == 3
    assert instance.versions == [new]


def test_a_worker_that_starts_serves_what_is_committed_and_not_what_is_proposed(
    instance: Instance,
) -> None:
    old = current_version(instance.models / "logistic")
    next_version(instance.models)
    instance.store.propose(instance.store.stage(reloaded(instance)))

    instance.add_worker("late")

    assert instance.versions == [old]


def test_a_worker_that_loaded_before_a_commit_answers_with_what_was_committed(
    instance: Instance, tmp_path: Path
) -> None:
    """Nobody waited for it: it was not known yet."""
    settings = Settings(state_dir=tmp_path, models_dir=instance.models, instance="i")
    loaded = instance.store.serving()
    new = next_version(instance.models).version
    instance.store.commit(instance.store.stage(reloaded(instance)))
    switch_seconds = sys.getswitchinterval()

    first = asyncio.run(first_answer(create_app(settings, instance.metrics, loaded), "/readyz"))

    sys.setswitchinterval(switch_seconds)
    gc.unfreeze()
    assert first.json()["models"] == {"logistic": new}


async def first_answer(app: ASGIApp, path: str) -> httpx.Response:
    """Start a worker as a server does, and ask it at once."""
    messages: asyncio.Queue[Message] = asyncio.Queue()
    started = asyncio.Event()

    async def send(message: Message) -> None:
        if message["type"] == "lifespan.startup.complete":
            started.set()

    messages.put_nowait({"type": "lifespan.startup"})
    living = asyncio.ensure_future(app({"type": "lifespan"}, messages.get, send))
    await started.wait()
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        answer = await client.get(path)
    messages.put_nowait({"type": "lifespan.shutdown"})
    await living
    return answer


def reloaded(instance: Instance) -> ReleasePlan:
    before = instance.store.plan(1)
    version = current_version(instance.models / "logistic")
    return ReleasePlan(
        versions={"logistic": version},
        origins={"logistic": str(instance.models / "logistic/versions" / version)},
        fresh=["logistic"],
        experiment=before.experiment,
        fresh_experiment=True,
    )


def test_the_versions_before_survive_restarts_and_are_forgotten_with_the_model(
    instance: Instance,
) -> None:
    names = [current_version(instance.models / "logistic")]
    for _ in range(4):
        names.append(next_version(instance.models).version)
        instance.store.begin(instance.models, None)  # a restart

    last = instance.store.pointer()
    assert last is not None
    assert list(instance.store.plan(last.serving).earlier["logistic"]) == names[1:4]

    first_version(instance.models, "other")
    shutil.rmtree(instance.models / "logistic")
    instance.store.begin(instance.models, None)
    last = instance.store.pointer()
    assert last is not None
    assert dict(instance.store.plan(last.serving).earlier) == {"other": []}


def test_each_rollback_goes_one_version_further_back_and_then_no_further(
    instance: Instance,
) -> None:
    names = [current_version(instance.models / "logistic")]
    names += [next_version(instance.models).version for _ in range(2)]
    plan = replace(reloaded(instance), earlier={"logistic": names[:2]})

    for expected in reversed(names[:2]):
        plan = plan_rollback(instance.models, "logistic", serving=plan)
        assert plan.versions["logistic"] == expected
    with pytest.raises(ReleaseRefusedError, match="served no other version"):
        plan_rollback(instance.models, "logistic", serving=plan)


def test_equal_encoders_of_a_release_are_loaded_once(instance: Instance) -> None:
    one = load_bundle(instance.models / "logistic")
    twin = replace(one, name="twin", baseline=replace(one.baseline, model_name="twin"))
    write_bundle(instance.models, twin)

    loaded = instance.store.begin(instance.models, None).bundles

    assert set(loaded) == {"logistic", "twin"}
    assert loaded["logistic"].encoder is loaded["twin"].encoder


def test_old_releases_are_deleted(instance: Instance, tmp_path: Path) -> None:
    for _ in range(4):
        instance.store.begin(instance.models, None)

    kept = [path.name for path in (tmp_path / "releases").iterdir() if path.is_dir()]
    assert sorted(kept) == ["3", "4", "5"]


def test_a_version_that_comes_back_has_the_counters_and_the_reservoir_that_it_had(
    instance: Instance,
) -> None:
    serving = instance.add_worker("a")
    first, before = serving.release, serving.now.models["logistic"]
    next_version(instance.models)
    serving.switch(instance.store.begin(instance.models, None))
    between = serving.now.models["logistic"]
    serving.switch(first)
    after = serving.now.models["logistic"]

    assert between.recorder is not before.recorder
    assert after.recorder is before.recorder
    assert after.reservoir is before.reservoir
    assert len(serving.reservoirs) == 2


def model_version(number: int) -> ModelVersion:
    return ModelVersion("m", f"v{number}")


@given(st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9), max_size=2))
def test_the_newest_three_versions_and_those_served_are_shown(
    counted: set[int], served: set[int]
) -> None:
    retired = retired_versions(map(model_version, counted), set(map(model_version, served)))

    kept = set(map(model_version, counted)) - retired
    assert kept == {
        model_version(n) for n in counted if n in served or sum(m > n for m in counted) < 3
    }


def test_versions_that_are_shown_no_longer_are_left_out_of_the_counters() -> None:
    def series(version: str) -> Series:
        return Series("ctr_requests_total", (("model", "m"), ("version", version)))

    other = Series("ctr_rejected_requests_total", (("reason", "not_found"),))
    info = Series("ctr_model_info", (("model", "m"), ("model_kind", "xgboost"), ("version", "v1")))
    counters = {series(f"v{number}"): 1.0 for number in range(5)} | {other: 2.0}

    assert set(shown(counters, {info: 1.0})) == {other, *(series(f"v{n}") for n in (1, 2, 3, 4))}
    assert set(shown(counters, {info: 0.0})) == {other, *(series(f"v{n}") for n in (2, 3, 4))}


def test_a_worker_that_cannot_even_say_what_it_serves_follows_once_it_can(
    instance: Instance, tmp_path: Path
) -> None:
    instance.add_worker("a")
    blocked = tmp_path / "releases/1/workers/.a"
    blocked.mkdir()  # where the acknowledgement is written first: as on a full disk
    new = next_version(instance.models).version

    assert instance.release().workers == 1
    assert instance.versions == [new]


def test_a_worker_that_missed_a_release_damaged_since_takes_the_next_one(
    instance: Instance, tmp_path: Path
) -> None:
    instance.add_worker("a")
    next_version(instance.models)
    instance.store.begin(instance.models, None)
    for file in (tmp_path / "releases/2/models/logistic/versions").glob("*/features.json"):
        file.write_text("damaged")
    new = next_version(instance.models).version

    assert instance.release(instance.releases(ready=10)).behind == []
    assert instance.versions == [new]


def test_a_hangup_while_the_service_stops_does_not_end_it_in_the_middle(
    instance: Instance,
) -> None:
    before = signal.getsignal(signal.SIGHUP)

    async def serve() -> None:
        with reloading_on_hangup(instance.releases()):
            pass

    try:
        asyncio.run(serve())
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_state_folder_without_links_takes_copies(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)  # as on vfat, exfat and many network mounts
    first_version(instance.models, "other")
    worker = instance.add_worker("a")
    instance.release()
    new = next_version(instance.models).version

    instance.release(only="logistic")
    assert worker.versions["logistic"] == new
