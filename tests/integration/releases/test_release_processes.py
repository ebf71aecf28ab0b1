"""Releases and processes: workers that are killed, signals, and terminals that are closed."""

import os
import pty
import random
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import httpx
import pytest
from model_versions import next_version
from prometheus_server import wait_until
from release_traffic import traffic
from releasing_service import damage_the_model, reload, serving, versions_served
from service_process import ROOT, Service, children

pytestmark = pytest.mark.integration


def reload_until_it_is_answered(service: Service) -> httpx.Response:
    """Ask again where the worker that was asked is killed: it is the same release then."""
    while True:
        try:
            with service.client() as client:
                return reload(client)
        except httpx.TransportError:
            continue


def test_a_worker_that_is_killed_meanwhile_holds_up_nothing_and_comes_back_with_the_same(
    models: Path, experiment: Path
) -> None:
    rng = random.Random(4)
    with serving(models, experiment, workers=2) as service:
        with traffic(service.url, reconnect=True) as running:
            for _ in range(4):
                version = next_version(models).version
                victim = rng.choice(children(service.process.pid))
                killer = threading.Timer(rng.uniform(0, 0.4), os.kill, (victim, signal.SIGKILL))
                killer.start()
                answer = reload_until_it_is_answered(service)
                killer.join()
                assert answer.status_code == 200, answer.text
                wait_until(
                    partial(two_workers_without, service, victim),
                    seconds=60,
                    what="a worker in place of the one killed",
                )
                assert versions_served(service) == {version}
        with service.client() as client:
            last_hour = client.get("/monitoring/stats?window=1h").json()["models"]
            counted = sum(model["total_requests"] for model in last_hour.values())

    assert running.failed == []
    assert sum(running.answered.values()) <= counted <= running.sent


def two_workers_without(service: Service, victim: int) -> bool:
    alive = children(service.process.pid)
    return len(alive) == 2 and victim not in alive


def test_a_killed_worker_comes_back_with_what_is_served_not_with_what_is_on_disk(
    models: Path, experiment: Path
) -> None:
    with serving(models, experiment, workers=2) as service:
        [before] = versions_served(service)
        for _ in range(4):  # so many that the one served is kept no longer
            next_version(models)
        experiment.write_text("half of a")
        victim = children(service.process.pid)[0]
        os.kill(victim, signal.SIGKILL)
        wait_until(partial(two_workers_without, service, victim), seconds=60, what="a new worker")

        assert not (models / "logistic/versions" / before).exists()
        assert versions_served(service) == {before}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_hangup_signal_reloads_and_restarts_nobody(
    models: Path, experiment: Path, workers: int
) -> None:
    with serving(models, experiment, workers=workers) as service:
        family = children(service.process.pid)
        with traffic(service.url, clients=2) as running:
            version = next_version(models).version
            service.process.send_signal(signal.SIGHUP)
            wait_until(
                lambda: versions_served(service) == {version}, seconds=30, what="the new version"
            )
        damage_the_model(models, experiment)
        service.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "no release: " in service.log(), seconds=30, what="a refusal in the log")

        assert children(service.process.pid) == family
        assert versions_served(service) == {version}
        assert f"logistic {version} (was " in service.log()

    assert running.failed == []


@pytest.mark.parametrize("workers", [1, 2])
def test_closing_the_terminal_stops_the_service(
    models: Path, experiment: Path, tmp_path: Path, workers: int
) -> None:
    ours, theirs = pty.openpty()
    try:
        with (tmp_path / "output").open("w") as output:
            service = subprocess.Popen(
                [
                    *(sys.executable, "-c", LEAD_A_SESSION, sys.executable, "scripts/run_api.py"),
                    *("--port", "0", "--workers", str(workers)),
                    *("--state-dir", str(tmp_path / "state"), "--models-dir", str(models)),
                    *("--experiment-file", str(experiment)),
                ],
                cwd=ROOT,
                env={**os.environ, "CTR_BRIDGE_ENABLED": "false"},
                stdin=theirs,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        wait_until(
            lambda: "Ctrl-C stops" in (tmp_path / "output").read_text(), seconds=60, what="a banner"
        )
        url = (tmp_path / "output").read_text().splitlines()[0].split()[-1]
        assert httpx.get(f"{url}/readyz", timeout=60).status_code == 200
        family = children(service.pid)
    finally:
        os.close(theirs)
        os.close(ours)

    service.wait(timeout=30)
    assert not any(Path(f"/proc/{pid}/cmdline").exists() for pid in family)


LEAD_A_SESSION = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
