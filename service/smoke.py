"""A walk through a running service: six steps, each checked, as a user would do them by hand."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import httpx

from service.command_line import Command, ExitStatus, add_json
from service.logs import say
from service.settings import variable

PREDICTIONS = 50
_SKIPPED = "not there yet"

Json = Mapping[str, Any]


class StepFailedError(Exception):
    """The service gave a wrong answer; the message says what was expected."""


class _Step(NamedTuple):
    title: str
    run: Callable[[httpx.Client, str], Iterator[str]]
    """Yields what to print."""


class _NoServiceError(Exception):
    """Nothing answers; the message says where."""


def _run(flags: argparse.Namespace) -> int:
    # Progress is for people: where a script reads the result, it goes elsewhere.
    telling = sys.stderr if flags.json else sys.stdout
    steps = []
    token = os.environ.get(variable("api_token"))
    headers = {"Authorization": f"Bearer {token}"} if token else None
    with httpx.Client(base_url=flags.url, timeout=30, headers=headers) as client:
        for number, step in enumerate(_STEPS, start=1):
            say(f"{number}. {step.title}", to=telling)
            lines, wrong = [], None
            try:
                for line in step.run(client, flags.model):
                    lines.append(line)
                    say(f"   {line}", to=telling)
            except StepFailedError as error:
                wrong = str(error)
                say(f"   WRONG: {wrong}", to=telling)
            except (httpx.TransportError, httpx.UnsupportedProtocol) as error:
                raise _NoServiceError(
                    f"--url {flags.url} does not answer ({error}); start scripts/run_api.py there"
                ) from error
            steps.append({"step": step.title, "found": lines, "wrong": wrong})
    failures = sum(step["wrong"] is not None for step in steps)
    if flags.json:
        sys.stdout.write(f"{json.dumps({'right': not failures, 'steps': steps})}\n")
    else:
        some = f"{failures} of {len(_STEPS)} steps are wrong"
        say(some if failures else "all as it should be", to=telling)
    return ExitStatus.FAILED if failures else ExitStatus.DONE


def _add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--url", default="http://127.0.0.1:8000", help="address of the service (%(default)s)"
    )
    parser.add_argument(
        "--model", default="xgboost", metavar="NAME", help="model to look at (%(default)s)"
    )
    add_json(parser)


def _check_api(client: httpx.Client, model: str) -> Iterator[str]:
    _expect(_get(client, "/healthz")["status"] == "alive", "/healthz says alive")
    ready = _get(client, "/readyz")
    versions = ready["models"]
    _expect(model in versions, f"{model} is served; served are {', '.join(versions)}")
    yield f"ready with {', '.join(f'{name} {version}' for name, version in versions.items())}"


def _predict(client: httpx.Client, model: str) -> Iterator[str]:
    before = _statistics(client, model)
    scores = []
    for number in range(PREDICTIONS):
        body = {
            "user_id": f"user_{number}",
            "ad_id": f"ad_{number % 10}",
            "device": ("mobile", "desktop", "tablet")[number % 3],
            "placement": ("header", "sidebar", "footer")[number % 3],
            "hour": number % 24,
            "day_of_week": number % 7,
        }
        answer = client.post("/predict_ctr", params={"model_name": model}, json=body)
        _expect(answer.status_code == httpx.codes.OK, f"a prediction, not {answer.text}")
        scores.append(answer.json()["predicted_ctr"])
    _expect(all(0 <= score <= 1 for score in scores), "every predicted CTR is from 0 to 1")
    after = _statistics(client, model)
    # Others may be sending too.
    grown = after["total_requests"] - before["total_requests"]
    _expect(grown >= PREDICTIONS, f"{PREDICTIONS} more requests are counted, not {grown}")
    yield f"{PREDICTIONS} predictions, mean CTR {sum(scores) / len(scores):.4f}"


def _view_statistics(client: httpx.Client, model: str) -> Iterator[str]:
    statistics = _statistics(client, model)
    total, good, bad = (
        statistics[field] for field in ("total_requests", "successful_requests", "error_count")
    )
    _expect(good + bad == total, f"successes and errors ({good} + {bad}) make the total {total}")
    quantiles = [statistics[f"p{q}_latency_ms"] for q in (50, 95, 99)]
    _expect(quantiles == sorted(quantiles), f"p50 <= p95 <= p99 in {quantiles}")
    least, average, most = (statistics[f"{which}_latency_ms"] for which in ("min", "avg", "max"))
    _expect(least <= average <= most, f"min <= avg <= max in {least}, {average}, {most}")
    yield f"{total} requests, {statistics['error_rate']:.2f} % errors"
    yield f"latency avg {average:.2f} ms, p50 {quantiles[0]:.2f}, p99 {quantiles[2]:.2f}"


def _check_health(client: httpx.Client, model: str) -> Iterator[str]:
    health = _get(client, "/monitoring/health")
    words = {"healthy", "warning", "degraded"}
    _expect(health["status"] in words, f"the status is one of {sorted(words)}")
    _expect(model in health["models"], f"{model} has an entry")
    yield f"{health['status']}; {', '.join(health['alerts']) or 'no alerts'}"
    for check in health["models"][model]["checks"]:
        yield f"{check['name']}: {check['status']} ({check['observations']} requests)"


def _check_drift(client: httpx.Client, model: str) -> Iterator[str]:
    answer = client.get(f"/monitoring/drift/{model}")
    if answer.json().get("detail") == "Not Found":
        yield f"/monitoring/drift is {_SKIPPED}"
        return
    _expect(answer.status_code == httpx.codes.OK, f"an answer, not {answer.text}")
    drift = answer.json()
    _expect(isinstance(drift["drift_detected"], bool), "drift_detected is true or false")
    yield f"{drift['status']}: {len(drift['drifts'])} drifts"


def _set_baseline(client: httpx.Client, model: str) -> Iterator[str]:
    observed = _statistics(client, model)
    wanted = {
        "model_name": model,
        "mean_prediction": observed["mean_prediction"],
        "std_prediction": observed["std_prediction"],
        "mean_latency_ms": observed["avg_latency_ms"],
        "std_latency_ms": observed["std_latency_ms"],
        "observations": observed["total_predictions"],
        "note": "set by test_monitoring.py from what the service had observed",
    }
    answer = client.post("/monitoring/baseline", json=wanted)
    _expect(answer.status_code == httpx.codes.OK, f"the baseline is set, not {answer.text}")
    in_force = _get(client, f"/monitoring/baseline/{model}")
    for field in ("mean_prediction", "std_prediction", "observations"):
        _expect(in_force[field] == wanted[field], f"{field} is {wanted[field]}, as it was set")
    yield f"revision {in_force['revision']}: mean {in_force['mean_prediction']:.4f}"


_STEPS = (
    _Step("Check API health", _check_api),
    _Step(f"Make {PREDICTIONS} predictions", _predict),
    _Step("View monitoring statistics", _view_statistics),
    _Step("Check system health", _check_health),
    _Step("Check for model drift", _check_drift),
    _Step("Set the baseline", _set_baseline),
)


def _statistics(client: httpx.Client, model: str) -> Json:
    return _get(client, f"/monitoring/stats?model_name={model}")


def _get(client: httpx.Client, path: str) -> Json:
    answer = client.get(path)
    _expect(answer.status_code == httpx.codes.OK, f"{path} answers 200, not {answer.text}")
    content: Json = answer.json()
    return content


def _expect(condition: bool, expected: str) -> None:  # noqa: FBT001 - reads as an assertion
    if not condition:
        raise StepFailedError(f"expected that {expected}")


SMOKE = Command(
    name="python scripts/test_monitoring.py",
    summary="check a running service, step by step",
    add_flags=_add_flags,
    run=_run,
    process="smoke",
    epilog=f"It sends {PREDICTIONS} predictions and, as the last step, sets the model's baseline "
    "to what the service itself has observed, with the token in CTR_API_TOKEN where there is one.",
    failures=(_NoServiceError,),
)
