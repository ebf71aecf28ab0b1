"""REST and a real Prometheus give the same number for the same question."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from prometheus_server import Prometheus, scraping_prometheus, wait_until
from service_process import Service, running_service

from service.monitoring.counts import counts_by_model
from service.monitoring.snapshot import Series, Snapshot
from service.monitoring.window import window_over

MODELS = ("xgboost", "logistic")
SINGLES, BATCHES, BATCH = 400, 20, 40

pytestmark = pytest.mark.integration


@dataclass(frozen=True)
class Scraped:
    """A service at rest after traffic, and the Prometheus that has seen all of it."""

    service: Service
    prometheus: Prometheus


def send_traffic(service: Service, rng: random.Random) -> None:
    with service.client() as client:
        for number in range(SINGLES):
            client.post("/predict_ctr", json=ad_request(rng, number))
        for number in range(BATCHES):
            rows = [ad_request(rng, number * BATCH + i) for i in range(BATCH)]
            client.post("/predict_ctr/batch", json={"requests": rows})


def ad_request(rng: random.Random, number: int) -> dict[str, object]:
    return {
        "user_id": f"user_{number}",
        "ad_id": f"ad_{rng.randrange(50)}",
        "device": rng.choice(["mobile", "desktop", "tablet"]),
        "placement": rng.choice(["header", "sidebar"]),
        "hour": rng.randrange(24),
        "day_of_week": rng.randrange(7),
    }


@pytest.fixture(scope="module", params=[1, 2], ids=["one worker", "two workers"])
def scraped(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    models_dir: Path,
    tool: Callable[[str, str], str],
) -> Iterator[Scraped]:
    binary = tool("prometheus", "prometheus")
    folder = tmp_path_factory.mktemp("one_number")
    faults = {"CTR_FAULTS": "xgboost:error=0.07;logistic:latency_ms=2"}
    with (
        running_service(folder / "state", models_dir, env=faults, workers=request.param) as service,
        scraping_prometheus(binary, folder, [service.url.removeprefix("http://")]) as prometheus,
    ):
        rng = random.Random(request.param)
        send_traffic(service, rng)
        wait_until(lambda: bool(prometheus.query("up == 1")), seconds=60, what="the first scrape")
        # A second stretch of traffic, after which the scrapes differ and windows hold something.
        send_traffic(service, rng)
        totals = stats(service)
        wait_until(
            lambda: all(
                prometheus.number(f'sum(ctr_prediction_ratio_count{{model="{m}"}})')
                == totals[m]["total_predictions"]
                for m in MODELS
            ),
            seconds=60,
            what="a scrape after the traffic",
        )
        yield Scraped(service, prometheus)


def stats(service: Service) -> dict[str, dict[str, float]]:
    with service.client() as client:
        models: dict[str, dict[str, float]] = client.get("/monitoring/stats").json()["models"]
        return models


DURATION, PREDICTION = "ctr_request_duration_seconds", "ctr_prediction_ratio"


def mean(metric: str) -> str:
    return f"sum({metric}_sum{{M}}) / sum({metric}_count{{M}})"


def std(metric: str) -> str:
    squares = f"sum({metric}_squared_total{{M}}) / sum({metric}_count{{M}})"
    return f"sqrt({squares} - ({mean(metric)}) ^ 2)"


def quantile(q: float) -> str:
    return f"1000 * histogram_quantile({q}, sum by (le) ({DURATION}_bucket{{M}}))"


ERRORS = 'sum(ctr_requests_total{M, outcome="error"})'
PROMQL = {
    "total_requests": "sum(ctr_requests_total{M})",
    "successful_requests": 'sum(ctr_requests_total{M, outcome="success"})',
    "error_count": ERRORS,
    "error_rate": f"100 * {ERRORS} / sum(ctr_requests_total{{M}})",
    "avg_latency_ms": f"1000 * {mean(DURATION)}",
    "std_latency_ms": f"1000 * {std(DURATION)}",
    "p50_latency_ms": quantile(0.5),
    "p95_latency_ms": quantile(0.95),
    "p99_latency_ms": quantile(0.99),
    "min_latency_ms": f"1000 * min({DURATION}_min{{M}})",
    "max_latency_ms": f"1000 * max({DURATION}_max{{M}})",
    "total_predictions": f"sum({PREDICTION}_count{{M}})",
    "mean_prediction": mean(PREDICTION),
    "std_prediction": std(PREDICTION),
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("field", PROMQL)
def test_a_statistic_since_the_beginning_equals_promql(
    scraped: Scraped, model: str, field: str
) -> None:
    expression = PROMQL[field].replace("{M", f'{{model="{model}"')

    rest = stats(scraped.service)[model][field]

    assert rest > 0 or (model, field) in {("logistic", "error_count"), ("logistic", "error_rate")}
    assert rest == pytest.approx(scraped.prometheus.number(expression), rel=1e-12)


@pytest.mark.parametrize("model", MODELS)
def test_windowed_quantiles_from_the_same_scrapes_equal_promql(
    scraped: Scraped, model: str
) -> None:
    selector = f'{DURATION}_bucket{{model="{model}"}}'
    raw = scraped.prometheus.query(f"{selector}[60s]")
    first, last = (
        Snapshot(
            at=float(raw[0]["values"][place][0]),
            epoch=0.0,
            counters={
                Series(f"{DURATION}_bucket", labels_of(series["metric"])): float(
                    series["values"][place][1]
                )
                for series in raw
            },
            gauges={},
        )
        for place in (0, -1)
    )
    # From scrape to scrape: then rate() has nothing to extrapolate, differently for each bucket.
    window = f"{selector}[{round((last.at - first.at) * 1000)}ms]"

    durations = counts_by_model(window_over([first, last]).increases)[model].durations

    assert durations.count > 50
    for q in (0.05, 0.5, 0.9, 0.95, 0.99):
        promql = f"histogram_quantile({q}, sum by (le) (rate({window})))"
        assert durations.quantile(q) == pytest.approx(
            scraped.prometheus.number(promql, at=last.at), rel=1e-9
        )


def labels_of(metric: dict[str, str]) -> tuple[tuple[str, str], ...]:
    own = {"model", "version", "le"}
    return tuple(sorted((name, value) for name, value in metric.items() if name in own))


def test_any_connection_to_any_worker_gets_the_same_answer(scraped: Scraped) -> None:
    moving = {"window_end", "last_updated", "requests_per_minute", "staleness_seconds"}
    answers = set()
    for _ in range(30):
        fresh = stats(scraped.service)
        answers.add(
            str({m: {k: v for k, v in fresh[m].items() if k not in moving} for m in MODELS})
        )
    assert len(answers) == 1


def test_prometheus_sees_the_health_that_rest_tells(scraped: Scraped) -> None:
    level = {"healthy": 0, "warning": 1, "degraded": 2}
    with scraped.service.client() as client:
        models = client.get("/monitoring/health").json()["models"]
    assert models["xgboost"]["status"] == "degraded"

    for model in MODELS:
        query = f'ctr_health_status{{model="{model}"}} == {level[models[model]["status"]]}'
        wait_until(partial(has_result, scraped.prometheus, query), seconds=30, what=query)


def has_result(prometheus: Prometheus, query: str) -> bool:
    return bool(prometheus.query(query))
