"""What speaks Prometheus' HTTP API gives the scrapes of every instance as they were."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
from exposition import counted
from ports import free_port
from prometheus_server import scraping_prometheus, wait_until
from service_process import Service, running_service

from service.monitoring import catalogue
from service.monitoring.fleet import Reading
from service.monitoring.snapshot import Series
from service.sources.errors import SourceUnavailableError
from service.sources.prometheus_api import PrometheusApi

BEGAN = catalogue.COUNTERS_BEGAN.name
SELECTOR = '{job="ctr"}'

pytestmark = pytest.mark.integration


@dataclass(frozen=True)
class Scraped:
    """A service, and the server that scrapes it."""

    service: Service
    url: str
    rounds: bool
    """VictoriaMetrics keeps about twelve decimal digits; counts are exact all the same."""

    def readings(self, selector: str = SELECTOR) -> dict[str, list[Reading]]:
        now = time.time()
        with PrometheusApi(self.url, selector) as api:
            return {name: list(found) for name, found in api.readings(now - 10, now).items()}


@contextmanager
def victoria_metrics(binary: str, folder: Path, target: str) -> Iterator[str]:
    config = folder / "scrape.yml"
    config.write_text(
        "global: {scrape_interval: 1s}\n"
        "scrape_configs:\n"
        f"  - {{job_name: ctr, static_configs: [{{targets: ['{target}']}}]}}\n"
    )
    address = f"127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        [
            binary,
            f"-promscrape.config={config}",
            f"-storageDataPath={folder / 'data'}",
            f"-httpListenAddr={address}",
            "-loggerLevel=ERROR",
        ]
    )
    try:
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture(scope="module", params=["prometheus", "victoria-metrics"])
def scraped(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    models_dir: Path,
    tool: Callable[[str, str], str],
) -> Iterator[Scraped]:
    folder = tmp_path_factory.mktemp("scraped")
    binary = tool(request.param, request.param)
    with running_service(folder / "state", models_dir) as service:
        target = service.url.removeprefix("http://")
        with service.client() as client:
            for i in range(20):
                body = {"user_id": f"u{i}", "ad_id": "a", "device": "mobile"}
                body |= {"placement": "header"}
                client.post("/predict_ctr", json={**body, "hour": i, "day_of_week": 1})
        if request.param == "prometheus":
            with scraping_prometheus(binary, folder, [target]) as prometheus:
                yield arrived(Scraped(service, str(prometheus.client.base_url), rounds=False))
        else:
            with victoria_metrics(binary, folder, target) as url:
                yield arrived(Scraped(service, url, rounds=True))


def arrived(scraped: Scraped) -> Scraped:
    def some() -> bool:
        try:
            return any(len(found) >= 3 for found in scraped.readings().values())
        except SourceUnavailableError:
            return False

    wait_until(some, seconds=60, what="three scrapes have arrived")
    return scraped


def test_a_reading_is_what_the_instance_shows(scraped: Scraped) -> None:
    with scraped.service.client() as client:
        shown = counted(client)
    [readings] = scraped.readings().values()
    newest = readings[-1]

    seen = {
        (series.name, frozenset(series.labels)): value
        for series, value in {**newest.counters, **newest.gauges}.items()
        if (series.name, frozenset(series.labels)) in shown
    }
    if scraped.rounds:
        assert seen == pytest.approx(shown, rel=1e-10)
    else:
        assert seen == shown
    assert newest.epoch == shown["ctr_counters_began_timestamp_seconds", frozenset()]


def test_readings_come_in_order_one_a_scrape(scraped: Scraped) -> None:
    [readings] = scraped.readings().values()
    times = [reading.at for reading in readings]

    assert times == sorted(set(times))
    assert all(0.5 < later - earlier < 3 for earlier, later in pairwise(times))


def test_another_selector_selects_nothing(scraped: Scraped) -> None:
    assert scraped.readings('{job="another"}') == {}


def test_a_selector_that_cannot_be_read_is_told_with_the_server_s_words(scraped: Scraped) -> None:
    with pytest.raises(SourceUnavailableError, match=r"Prometheus answers 4\d\d: .*parse"):
        scraped.readings("{job=}")


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with (
        PrometheusApi(f"http://127.0.0.1:{free_port()}", SELECTOR) as api,
        pytest.raises(SourceUnavailableError, match="does not answer"),
    ):
        api.readings(0, 1)


def _counting(value: object, **labels: object) -> dict[str, object]:
    series = {"metric": {"__name__": "ctr_requests_total", **labels}, "values": [[0.5, value]]}
    return {"status": "success", "data": {"result": [series]}}


@pytest.mark.parametrize(
    "answer",
    [
        *([], "ctr", {"status": "success"}),
        *(_counting(value) for value in ("NaN", "-1", "+Inf", "many", None, 10**400)),
        _counting("1", model=7),
    ],
)
def test_an_answer_of_something_else_is_refused_and_says_why(answer: object) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=answer))
    api = PrometheusApi("http://prometheus", SELECTOR, transport=transport)

    with pytest.raises(SourceUnavailableError, match="is no Prometheus"):
        api.readings(0, 1)


def test_a_gauge_that_is_no_number_is_absent() -> None:
    began = {"metric": {"__name__": BEGAN}, "values": [[0.5, "0.25"]]}
    last = {"metric": {"__name__": "ctr_prediction_ratio_last"}, "values": [[0.5, "NaN"]]}
    answer = {"status": "success", "data": {"result": [began, last]}}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=answer))

    [reading] = PrometheusApi("http://prometheus", SELECTOR, transport=transport).readings(0, 1)[""]

    assert reading == (0.5, 0.25, {}, {Series(BEGAN, ()): 0.25})


def test_a_partial_answer_is_refused() -> None:
    partial = {"status": "success", "warnings": ["a store is down"], "data": {"result": []}}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=partial))
    api = PrometheusApi("http://prometheus", SELECTOR, transport=transport)

    with pytest.raises(SourceUnavailableError, match=r"only a part: .*a store is down"):
        api.readings(0, 1)
