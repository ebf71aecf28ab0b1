"""Draws the dashboards with Grafana's own components, for somebody to look at.

A real service under traffic is scraped by a real Prometheus; the answers to the panels' queries
are drawn by ``@grafana/ui`` in a headless Chromium. Needs npm, Chromium and Prometheus.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dashboard_verifier as verifier
import httpx
from dashboard_verifier import Choice, Target
from prometheus_server import Prometheus, scraping_prometheus
from service_process import ROOT, running_service

from service.training.click_log import ClickLog, IdColumn
from service.training.simulation import simulate

HERE = Path(__file__).parent
MODEL = "xgboost"
STEP_SECONDS = 2
WIDTH = 1600
_ENVIRONMENT = {
    "CTR_BRIDGE_ENABLED": "true",
    "CTR_BRIDGE_WINDOW": "10",
    "CTR_SNAPSHOT_INTERVAL": "1",
    "CTR_FAULTS": "xgboost:error=0.03;logistic:error=0.08,latency_ms=2",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "var/pictures")
    parser.add_argument("--work", type=Path, default=ROOT / "var/pictures-work", help="of npm")
    parser.add_argument("--minutes", type=float, default=5, help="of traffic")
    parser.add_argument("--data", type=Path, help="draw these answers again instead of new ones")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    answers = options.output / "answers.json"
    if options.data is None:
        with watched_service(options.minutes) as (prometheus, start):
            content = list(answered(prometheus, start, time.time()))
        answers.write_text(json.dumps(content))
    else:
        shutil.copyfile(options.data, answers)
    draw(answers, options.work, options.output)
    return 0


@contextmanager
def watched_service(minutes: float) -> Iterator[tuple[Prometheus, float]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = folder / "models"
        training = ["scripts/train_models.py", "--rows", "20000", "--output", str(models)]
        subprocess.run([sys.executable, *training], cwd=ROOT, check=True, capture_output=True)
        env = _ENVIRONMENT | {"MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
        binary = program("prometheus")
        with (
            running_service(folder / "state", models, env=env, workers=2) as service,
            scraping_prometheus(
                binary, folder, [service.url.removeprefix("http://")]
            ) as prometheus,
            service.client() as client,
        ):
            start = time.time()
            send_traffic(client, minutes * 60)
            yield prometheus, start


def send_traffic(client: httpx.Client, seconds: float) -> None:
    """Send traffic: the first quarter becomes the baseline, the last third is another kind."""
    rng = random.Random(1)
    log = simulate(20_000, seed=0).log  # what the models were trained on
    start = time.monotonic()
    has_baseline = False
    while (elapsed := time.monotonic() - start) < seconds:
        changed = elapsed > seconds * 2 / 3
        if not has_baseline and elapsed > seconds / 4:
            has_baseline = True
            for model in ("xgboost", "logistic"):
                set_baseline(client, model)
        for _ in range(rng.randrange(2, 6)):
            client.post("/predict_ctr", json=ad_request(log, rng, changed=changed))
        rows = [ad_request(log, rng, changed=changed) for _ in range(rng.randrange(5, 20))]
        client.post("/predict_ctr/batch", json={"requests": rows})
        if rng.random() < 0.02:
            client.post("/predict_ctr", content=b"{")
        time.sleep(rng.expovariate(20))


def set_baseline(client: httpx.Client, model: str) -> None:
    seen = client.get("/monitoring/stats", params={"model_name": model}).json()
    baseline = {
        "mean_prediction": seen["mean_prediction"],
        "std_prediction": seen["std_prediction"],
        "mean_latency_ms": seen["avg_latency_ms"],
        "std_latency_ms": seen["std_latency_ms"],
    }
    answer = client.post("/monitoring/baseline", json={"model_name": model} | baseline)
    answer.raise_for_status()


def ad_request(log: ClickLog, rng: random.Random, *, changed: bool) -> dict[str, object]:
    """Draw a row of the log; of changed traffic half are desktops of users that nobody has seen."""
    row = rng.randrange(len(log))
    strange = changed and rng.random() < 0.5
    return {
        "user_id": f"new_{row}" if strange else named(log.user_id, row),
        "ad_id": named(log.ad_id, row),
        "device": "desktop" if strange else named(log.device, row),
        "placement": named(log.placement, row),
        "hour": int(log.hour[row]),
        "day_of_week": int(log.day_of_week[row]),
    }


def named(column: IdColumn, row: int) -> str:
    return str(column.values[column.codes[row]])


def answered(prometheus: Prometheus, start: float, end: float) -> Iterator[dict[str, Any]]:
    """Dashboards with the answers to their queries."""
    for name, content in verifier.load().items():
        chosen = {
            v["name"]: ".+" if v.get("includeAll") else MODEL
            for v in content["templating"]["list"]
            if v["type"] == "query"
        }
        choice = Choice(start=start, end=end, values=chosen, rate_interval="10s")
        for panel in content["panels"]:
            panel["answers"] = [
                {
                    "refId": target.name,
                    "legend": target.legend,
                    "instant": target.instant,
                    "series": series_of(prometheus, target, choice),
                }
                for target in verifier.targets_of(name, panel)
            ]
        yield {
            "name": name.removesuffix(".json"),
            "title": content["title"],
            "from": start * 1000,
            "to": end * 1000,
            "panels": content["panels"],
            "words": {
                "model": MODEL,
                "mlflow": "http://127.0.0.1:5000",
                "runbooks": "docs/runbooks",
            },
        }


def series_of(prometheus: Prometheus, target: Target, choice: Choice) -> list[Mapping[str, Any]]:
    found = verifier.answer(prometheus, target, choice, step=STEP_SECONDS)
    return [
        {
            "name": verifier.legend(target, one["metric"]),
            "labels": one["metric"],
            "points": one.get("values") or [one["value"]],
        }
        for one in found
    ]


def draw(answers: Path, work: Path, output: Path) -> None:
    """Bundle the drawing code with the answers and photograph every dashboard."""
    work.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "draw.jsx", "scrollbars.js"):
        shutil.copyfile(HERE / name, work / name)
    if not (work / "node_modules/@grafana/ui").exists():
        quiet = ["--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"]
        run([program("npm"), "install", "--legacy-peer-deps", *quiet], work)
    shutil.copyfile(answers, work / "answers.json")
    loaders = [f"--loader:.{ending}=dataurl" for ending in ("svg", "woff", "woff2", "ttf", "png")]
    run(
        [
            *("node_modules/.bin/esbuild", "draw.jsx", "--bundle", "--format=iife"),
            *("--outfile=bundle.js", "--define:global=window", "--jsx=automatic"),
            '--define:process.env.NODE_ENV="production"',
            *loaders,
            "--alias:react-custom-scrollbars-2=./scrollbars.js",
        ],
        work,
    )
    for dashboard in json.loads(answers.read_text()):
        page = work / f"{dashboard['name']}.html"
        page.write_text(
            "<!doctype html><meta charset=utf-8><link rel=stylesheet href=bundle.css>"
            f"<body data-dashboard={dashboard['name']}><div id=root></div>"
            "<script src=bundle.js></script>"
        )
        run(
            [
                *(program("chromium"), "--headless=new", "--no-sandbox", "--disable-gpu"),
                *("--hide-scrollbars", "--virtual-time-budget=10000"),
                f"--window-size={WIDTH},{height(dashboard)}",
                f"--screenshot={output / dashboard['name']}.png",
                page.absolute().as_uri(),
            ],
            work,
        )
        sys.stdout.write(f"{output / dashboard['name']}.png\n")


def height(dashboard: Mapping[str, Any]) -> int:
    """Of the picture; a row of Grafana's grid has 38 pixels with its gap."""
    places: list[dict[str, int]] = [panel["gridPos"] for panel in dashboard["panels"]]
    return 38 * max(place.get("y", 0) + place["h"] for place in places) + 60


def program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        sys.exit(f"{name} is missing")
    return path


def run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")


if __name__ == "__main__":
    sys.exit(main())
