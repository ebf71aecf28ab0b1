"""The page at `/` in a real Chromium: it shows what the service says, live, and nothing else."""

import random
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from chromium import Tab, running_chromium
from ports import free_port
from prometheus_server import wait_until
from service_process import Service, running_service

pytestmark = pytest.mark.integration

MODELS = ("xgboost", "logistic")
SECTIONS = {"health", "traffic", "predictions", "drift", "calibration", "variants", "record"}
NOTHING_WAITS = """
!document.querySelector('.skeleton, .waiting') &&
[...document.querySelectorAll('main .body')].every(one => one.children.length)
"""
TILES = """
[...document.querySelectorAll('#SECTION .tiles > div')].map(one => [
  one.querySelector('dt').innerText,
  one.querySelector('data')?.value ?? '',
  one.querySelector('data')?.innerText ?? ''])
"""
PLOTS = """
[...document.querySelectorAll('main figure:has(.plot)')].map(figure => {
  const svg = figure.querySelector('svg[role=img]'), details = figure.querySelector('details');
  details.open = true;
  details.dispatchEvent(new Event('toggle'));
  const words = svg.getAttribute('aria-labelledby').split(' ');
  return {
    section: figure.closest('section').id,
    key: details.dataset.key,
    words: words.map(id => document.getElementById(id).textContent),
    marks: svg.querySelectorAll('path, rect, circle').length,
    rows: figure.querySelectorAll('tbody tr').length,
  };
})
"""
ASKED = """
performance.getEntriesByType('resource').filter(one => one.name.includes('/monitoring/'))
  .map(one => [one.startTime, one.responseEnd])
"""
SHARED = """
fetch('/monitoring/health', {headers: {'Cache-Control': 'max-age=60'}, cache: 'no-store'})
  .then(answer => answer.headers.get('age'))
"""
HIDE = """
Object.defineProperty(document, 'hidden', {value: true, configurable: true});
document.dispatchEvent(new Event('visibilitychange'));
window.hiddenAt = performance.now(); 0
"""
LOOK = "delete document.hidden; document.dispatchEvent(new Event('visibilitychange')); 0"
FOCUSED = """
({name: document.activeElement.id || document.activeElement.className,
  line: getComputedStyle(document.activeElement).outlineStyle})
"""
FIRST_PAINT = "performance.getEntriesByName('first-contentful-paint')[0]"
TRUE_CTR = {"xgboost": 0.05, "logistic": 0.15}
ROW = {"ad_id": "a1", "device": "mobile", "placement": "header", "day_of_week": 3}
MOST_BYTES = 60_000
"""Of everything but answers, packed; 300,000 are promised."""


@pytest.fixture
def tab(tmp_path: Path, tool: Callable[[str, str], str]) -> Iterator[Tab]:
    with running_chromium(tool("chromium", "chromium"), tmp_path / "profile") as open_tab:
        opened = open_tab()
        opened.size(1280, 900)
        opened.theme("light")
        yield opened


@pytest.fixture(scope="module")
def beginning(
    tmp_path_factory: pytest.TempPathFactory, models_dir: Path
) -> Iterator[Future[Service]]:
    """A service that gets its past while tests go on that look at others: it takes minutes."""
    folder = tmp_path_factory.mktemp("page")
    experiment = folder / "experiment.toml"
    experiment.write_text(
        'name = "test"\nsalt = "s"\n[variants]\nxgboost = 0.5\nlogistic = 0.5\n', encoding="utf-8"
    )
    env = {
        "CTR_ATTRIBUTION_WINDOW": "10",
        "CTR_BRIDGE_ENABLED": "true",
        "CTR_BRIDGE_WINDOW": "10",
        "CTR_EXPERIMENT_FILE": str(experiment),
        "CTR_INSTANCE": "test",
        "CTR_SNAPSHOT_INTERVAL": "1",
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
    }
    with (
        # Left last: without its service the other thread ends at once, if it still waits.
        ThreadPoolExecutor(1) as aside,
        running_service(folder / "state", models_dir, env=env, workers=2) as service,
    ):
        yield aside.submit(with_a_past, service)


@pytest.fixture(scope="module")
def watched(beginning: Future[Service]) -> Service:
    """A service with traffic, complete clicks, an A/B test and a bridge; by now it is quiet."""
    return beginning.result()


def with_a_past(service: Service) -> Service:
    """Give a service traffic in a minute of its own, and wait until all is known of it."""
    with service.client() as client:
        wait_until(
            lambda: answer(client, "experiment")["window_start"] is not None,
            seconds=90,
            what="the first whole minute",
        )
        rng = random.Random(1)
        for _ in range(10):
            visit(client, rng, 500)
        for number in range(40):
            client.post("/predict_ctr", json={**ROW, "user_id": f"u{number}", "hour": 3})

        def complete() -> bool:
            variants = answer(client, "experiment")["variants"]
            return bool(sum(variant["predictions"] for variant in variants) == 5040)

        wait_until(complete, seconds=180, what="clicks to be complete")
        for model in MODELS:  # these users are others than those of training
            client.post(f"/monitoring/baseline/{model}/capture?window=1h").raise_for_status()
    return service


def visit(client: httpx.Client, rng: random.Random, count: int) -> None:
    rows = [
        {**ROW, "user_id": f"u{rng.randrange(4000)}", "hour": rng.randrange(24)}
        for _ in range(count)
    ]
    given = client.post("/predict_ctr/batch", json={"requests": rows}).json()["predictions"]
    events = [
        {"prediction_id": one["prediction_id"], "clicked": True}
        for one in given
        if rng.random() < TRUE_CTR[one["model_name"]]
    ]
    client.post("/feedback", json={"events": events}).raise_for_status()


def answer(client: httpx.Client, path: str) -> dict[str, Any]:
    body: dict[str, Any] = client.get(f"/monitoring/{path}").raise_for_status().json()
    return body


def written(value: float | None) -> str:
    """Write a number by the page's rule, another way."""
    if value is None:
        return "\N{EN DASH}"
    exact = Decimal(repr(value))
    if exact == exact.to_integral_value() or abs(exact) >= 100:
        text = f"{exact.quantize(Decimal(1), ROUND_HALF_UP):,}"
    else:
        text = f"{exact.quantize(Decimal(1).scaleb(exact.adjusted() - 2), ROUND_HALF_UP):f}"
    return text.replace("-", "\N{MINUS SIGN}")


def percent(ratio: float | None) -> str:
    return (
        "\N{EN DASH}"
        if ratio is None
        else f"{written(float(f'{ratio * 100:.15g}'))}\N{NARROW NO-BREAK SPACE}%"
    )


def tiles(tab: Tab, section: str) -> Mapping[str, tuple[float | None, str]]:
    """Name, exact value and text of each number that stands large."""
    found = tab.value(TILES.replace("SECTION", section))
    return {name: (float(value) if value else None, text) for name, value, text in found}


@pytest.mark.usefixtures("beginning")
def test_a_new_service_says_what_to_do_and_a_rehearsal_says_that_it_is_one(
    tmp_path: Path, models_dir: Path, tab: Tab
) -> None:
    one = tmp_path / "one.toml"
    one.write_text('name = "none"\nsalt = "s"\n[variants]\nxgboost = 1\n', encoding="utf-8")
    env = {"CTR_EXPERIMENT_FILE": str(one), "CTR_FAULTS": "xgboost:error=0.5"}
    with (
        running_service(tmp_path / "state", models_dir, env=env) as service,
        service.client() as client,
    ):
        tab.open(service.url)
        tab.until(NOTHING_WAITS, what="every section")
        said = {section: tab.text(f"#{section} .body") for section in SECTIONS}
        for number in range(30):
            client.post("/predict_ctr", json={**ROW, "user_id": f"u{number}", "hour": 3})
        tab.until("document.title.includes('degraded')", what="the errors are seen")
        tab.until("document.querySelector('#traffic .tiles')", what="the traffic is shown")
        alerts = tab.text("#health .alerts")
        link = tab.value("document.querySelector('#health .alerts a').href")
        runbook = client.get(link)
        failed = tiles(tab, "traffic")["Failed"]

    assert "No check has enough data yet" in said["health"]
    assert "xgboost:error=0.5" in said["health"]
    assert f"curl '{service.url}/predict_ctr?model_name=xgboost'" in said["traffic"]
    assert "No predictions yet" in said["predictions"]
    assert "Too early to tell" in said["drift"]
    assert "No clicks yet" in said["calibration"]
    assert "No experiment" in said["variants"]
    assert "Not written" in said["record"]
    assert "error rate 50 percent is above 5 percent" in alerts
    assert (runbook.status_code, runbook.text[:5]) == (200, "# Ctr")
    assert failed == (50.0, "50\N{NARROW NO-BREAK SPACE}%")


@pytest.mark.usefixtures("beginning")
def test_a_service_that_is_gone_is_told_and_found_again(
    tmp_path: Path, models_dir: Path, tab: Tab
) -> None:
    port = free_port()
    with running_service(tmp_path / "state", models_dir, port=port) as service:
        tab.open(service.url)
        tab.until(NOTHING_WAITS, what="every section")
        service.process.kill()
        service.process.wait()
        tab.until("!document.getElementById('unreachable').hidden", what="that it is gone")
        assert tab.value("document.title") == "✕ not reachable · ctr-monitor"
        assert "What is below is what it said last" in tab.text("#unreachable")
    with running_service(tmp_path / "state", models_dir, port=port):
        tab.until("document.getElementById('unreachable').hidden", what="that it is back")
        tab.until("document.title.includes('healthy')", what="its health")

    refused = [one for one in tab.complaints if "ERR_CONNECTION" not in one]
    assert refused == []


@pytest.mark.usefixtures("beginning")
def test_what_a_panel_cannot_be_given_is_told_in_its_place(
    tmp_path: Path, models_dir: Path, tab: Tab
) -> None:
    env = {"CTR_HISTORY": "7200", "CTR_ATTRIBUTION_WINDOW": "60"}
    with running_service(tmp_path / "state", models_dir, env=env) as service:
        tab.open(f"{service.url}/#model=xgboost&window=7d")
        tab.until("document.querySelector('#traffic .notice')", what="the refusal")
        told = tab.text("#traffic")

    assert "up to 7200 seconds" in told


def test_every_section_shows_the_numbers_of_its_answer(watched: Service, tab: Tab) -> None:
    tab.open(f"{watched.url}/#model=xgboost&window=1h")
    tab.until(NOTHING_WAITS, what="every section")
    with watched.client() as client:
        stats = answer(client, "stats?model_name=xgboost&window=1h")
        drift = answer(client, "drift/xgboost")
        quality = answer(client, "quality/xgboost")
        experiment = answer(client, "experiment")
        health = answer(client, "health")

    assert {
        name: tiles(tab, "traffic")[name] for name in ("Requests", "Failed", "Mean latency", "p95")
    } == {
        "Requests": (stats["total_requests"], written(stats["total_requests"])),
        "Failed": (
            stats["error_rate"],
            f"{written(stats['error_rate'])}\N{NARROW NO-BREAK SPACE}%",
        ),
        "Mean latency": (
            stats["avg_latency_ms"],
            f"{written(stats['avg_latency_ms'])}\N{NARROW NO-BREAK SPACE}ms",
        ),
        "p95": (
            stats["p95_latency_ms"],
            f"{written(stats['p95_latency_ms'])}\N{NARROW NO-BREAK SPACE}ms",
        ),
    }
    now = drift["current_stats"]
    assert tiles(tab, "predictions") == {
        "Predictions": (drift["observations"], written(drift["observations"])),
        "Mean predicted CTR": (now["mean_prediction"], percent(now["mean_prediction"])),
        "Standard deviation": (now["std_prediction"], percent(now["std_prediction"])),
    }
    judged = tiles(tab, "calibration")
    for name, field in {
        "Calibration ratio": "calibration_ratio",
        "Log loss": "log_loss",
        "Normalised entropy": "normalized_entropy",
        "AUC": "auc",
    }.items():
        assert judged[name] == (quality[field], written(quality[field]))
    assert judged["CTR"] == (quality["ctr"], percent(quality["ctr"]))
    row = tab.text("#variants .body > .scroll tbody")
    for variant in experiment["variants"]:
        assert written(variant["predictions"]) in row
        assert percent(variant["ctr"]) in row
    assert health["status"] in tab.text("#health .hero").lower()
    assert tab.value("document.title").split()[1] == health["status"]
    bridge = tiles(tab, "record")
    assert bridge["Points waiting"][0] is not None
    assert "Written" in tab.text("#record .verdict")
    assert tab.complaints == []


def test_every_plot_says_its_message_and_has_its_numbers_as_a_table(
    watched: Service, tab: Tab
) -> None:
    tab.open(watched.url)
    tab.until(NOTHING_WAITS, what="every section")
    plots = tab.value(PLOTS)

    assert {plot["section"] for plot in plots} == SECTIONS - {"health", "record"}
    assert {"requests", "latency", "errors", "distribution", "hours", "evidence"} <= {
        plot["key"] for plot in plots
    }
    assert {"reliability", "rates", "differences"} <= {plot["key"] for plot in plots}
    for plot in plots:
        assert all(plot["words"]), plot
        assert plot["marks"] > 0, plot
        assert plot["rows"] > 0, plot
    assert "undefined" not in tab.text("main")
    assert "NaN" not in tab.value("document.querySelector('main').innerHTML")


def test_an_open_table_and_the_focus_survive_new_answers(watched: Service, tab: Tab) -> None:
    tab.open(watched.url)
    tab.until(NOTHING_WAITS, what="every section")
    tab.value("document.querySelector('#traffic summary').focus()")
    tab.value("document.querySelector('#traffic details').open = true")
    tab.value("window.old = document.querySelector('#traffic figure'); 0")

    tab.until("document.querySelector('#traffic figure') !== window.old", what="new numbers")

    assert tab.value("document.querySelector('#traffic details').open") is True
    assert tab.value("document.activeElement.localName") == "summary"
    assert tab.value("document.querySelectorAll('#traffic details table').length") == 1


def test_the_page_asks_one_at_a_time_shares_answers_and_stops_when_nobody_looks(
    watched: Service, tab: Tab
) -> None:
    tab.open(watched.url)
    tab.until(NOTHING_WAITS, what="every section")

    assert {httpx.URL(url).host for url in tab.requested} == {"127.0.0.1"}
    asked = [url for url in tab.requested if "/monitoring/" in url]
    assert len(asked) >= 10
    spans = tab.value(ASKED)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    assert int(tab.value(SHARED)) >= 0  # an answer that others may have

    tab.value(HIDE)
    tab.until("performance.now() > window.hiddenAt + 500", what="an answer on its way")
    before = len(tab.requested)
    tab.until("performance.now() > window.hiddenAt + 7000", what="more than the pace of health")
    assert len(tab.requested) == before
    tab.value(LOOK)
    wait_until(lambda: tab.value("1") and len(tab.requested) > before, seconds=5, what="at once")


def test_keys_reach_everything_in_the_order_in_which_it_is_read(watched: Service, tab: Tab) -> None:
    tab.open(watched.url)
    tab.until(NOTHING_WAITS, what="every section")
    seen = []
    for _ in range(5):
        tab.press("Tab")
        seen.append(tab.value(FOCUSED))

    assert [one["name"] for one in seen[:4]] == ["skip", "model", "window", "theme"]
    assert {one["line"] for one in seen} == {"solid"}
    # Beyond, the order is that of the document: nothing is moved by a positive tabindex.
    jumps = "[...document.querySelectorAll('[tabindex]')].filter(one => one.tabIndex > 0).length"
    assert tab.value(jumps) == 0


def test_the_theme_follows_the_system_until_it_is_chosen_and_is_remembered(
    watched: Service, tab: Tab
) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    tab.theme("dark")
    tab.open(watched.url)
    dark = tab.value(ground)
    tab.value("document.getElementById('theme').click()")
    light = tab.value(ground)
    tab.open(f"{watched.url}/?again")

    assert (dark, light) == ("rgb(17, 20, 26)", "rgb(244, 246, 248)")
    assert tab.value(ground) == light


def test_a_time_axis_begins_where_there_is_something_to_draw(watched: Service, tab: Tab) -> None:
    tab.open(watched.url)

    def beginning(first: str) -> float:
        asked = f"import('/page/scales.js').then(scales => scales.beginning(10000, 900, {first}))"
        return float(tab.value(asked))

    assert beginning("5000") == 9100  # older than the span
    assert beginning("9600") == 9600  # younger
    assert beginning("9990") == 9820  # three minutes at least
    assert beginning("undefined") == 9100  # nothing to draw


def test_a_link_leads_to_one_model_and_one_span(watched: Service, tab: Tab) -> None:
    tab.open(f"{watched.url}/#model=logistic&window=6h")
    tab.until(NOTHING_WAITS, what="every section")

    assert tab.value(
        "[document.getElementById('model').value, document.getElementById('window').value]"
    ) == ["logistic", "6h"]
    tab.value("document.getElementById('model').value = 'xgboost'")
    tab.value("document.getElementById('model').dispatchEvent(new Event('change'))")
    assert "model=xgboost&window=6h" in tab.value("location.hash")
    tab.until(NOTHING_WAITS, what="the other model's numbers")


@pytest.mark.parametrize("width", [360, 390, 768])
def test_a_narrow_window_needs_no_sideways_scrolling(
    watched: Service, tab: Tab, width: int
) -> None:
    tab.size(width, 800, phone=True)
    tab.open(watched.url)
    tab.until(NOTHING_WAITS, what="every section")

    assert tab.value("document.documentElement.scrollWidth") <= width


def test_the_page_is_small_and_paints_early(watched: Service, tab: Tab) -> None:
    paints = []
    for number in range(3):
        tab.open(f"{watched.url}/?{number}")
        tab.until(FIRST_PAINT, what="paint")
        paints.append(tab.value(f"{FIRST_PAINT}.startTime"))
    with watched.client() as client:
        names = {httpx.URL(url).path for url in tab.requested}
        files = [client.get(name) for name in names if not name.startswith("/monitoring/")]
    sizes = [int(file.headers["content-length"]) for file in files]
    print(f"{len(sizes)} files, {sum(sizes)} bytes; first paint {min(paints):.0f} ms")

    assert sum(sizes) < MOST_BYTES
    assert min(paints) < 1000


def test_an_injected_drift_becomes_visible_on_an_open_page(watched: Service, tab: Tab) -> None:
    tab.open(f"{watched.url}/#model=xgboost&window=15m")
    tab.until("document.title.includes('healthy')", what="health")
    with watched.client() as client:
        seen = answer(client, "stats?model_name=xgboost")
        client.post(
            "/monitoring/baseline",
            json={
                "model_name": "xgboost",
                "mean_prediction": 2.5 * seen["mean_prediction"],
                "std_prediction": max(seen["std_prediction"], 1e-4),
                "mean_latency_ms": max(seen["avg_latency_ms"], 1.0),
                "std_latency_ms": max(10 * seen["avg_latency_ms"], 10.0),
            },
        ).raise_for_status()
        rng = random.Random(2)

        def drifted() -> bool:
            visit(client, rng, 200)
            return bool(answer(client, "drift/xgboost")["drift_detected"])

        wait_until(drifted, seconds=90, what="drift is detected")
        tab.until(
            "document.querySelector('#drift .verdict').innerText.includes('Drift: mean shift')",
            what="drift is shown",
            seconds=40,
        )
        tab.until(
            "document.querySelector('#evidence-plot').closest('svg').querySelector('.band')",
            what="the band",
        )
        [shift] = [
            one for one in answer(client, "drift/xgboost")["drifts"] if one["type"] == "mean_shift"
        ]

    assert "▲ warning" in tab.value("document.title")
    assert tab.value("document.getElementById('icon').href").endswith("icon-warning.svg")
    assert "drift from the baseline" in tab.text("#health .alerts")
    kind = tab.text("#drift table tbody tr")
    assert "mean shift" in kind
    assert percent(shift["baseline_mean"]) in kind
    assert shift["since"][11:16] in kind
    assert tab.complaints == []
