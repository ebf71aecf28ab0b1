"""What to look for in an answer, and how to say it; None while it is not there."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf

from demo.questions import MODEL, Json, Source

_ENOUGH = 1000
"""Predictions that make a verdict worth telling."""
_TOO_MANY = 1.1
"""Predicted clicks for each that came: the end of the zone that is no matter."""

Says = Callable[[Json], str | None]


@dataclass(frozen=True, slots=True)
class Sign:
    """Something that shows up in an answer."""

    name: str
    source: Source
    says: Says
    """What the answer says, in a sentence."""
    needed: bool = True
    """Whether the chapter waits for it."""


def healthy(health: Json) -> str | None:
    """Everything is well, and known to be."""
    checks = _checks(health)
    if health["status"] != "healthy" or {checks.get("drift"), checks.get("error_rate")} != {"ok"}:
        return None
    model = health["models"][MODEL]
    return (
        f"health: healthy; {MODEL} has {model['total_requests']:,} requests in the window, "
        f"{model['error_rate']:.2g} % errors, {_figure(model['avg_latency_ms'])} ms on average"
    )


def not_healthy(status: str) -> Says:
    """Health has this status, for these reasons."""

    def says(health: Json) -> str | None:
        if health["status"] != status:
            return None
        return f"health: {status}; {'; '.join(health['alerts'])}"

    return says


def rehearsed(health: Json) -> str | None:
    """The service says that errors are made on purpose."""
    faults = health["rehearsal"]
    return f"health says that this is a rehearsal: {faults}" if faults else None


def errors_over(health: Json) -> str | None:
    """The error rate is below its threshold again."""
    if _checks(health).get("error_rate") != "ok":
        return None
    return f"error rate of {MODEL}: {health['models'][MODEL]['error_rate']:.2g} %, ok again"


def drifted(drift: Json) -> str | None:
    """Predictions have drifted from the baseline."""
    found = [one for one in drift["drifts"] if one["type"] != "calibration_shift"]
    if not found:
        return None
    [first, *_] = found
    told = (
        f"drift: {first['type'].replace('_', ' ')} since {str(first['since'])[11:19]} UTC, "
        f"evidence {first['log_evidence']:.1f} of {first['log_evidence_threshold']:.1f} nats"
    )
    if first["type"] == "mean_shift" and first["current_mean"] is not None:
        told += (
            f"; mean prediction {first['baseline_mean']:.2%} before, "
            f"{first['current_mean']:.2%} in the window"
        )
    return told


def features_drifted(drift: Json) -> str | None:
    """What the model is asked has changed."""
    found = [one for one in drift["features"] if one["drift_detected"]]
    if not found:
        return None
    names = ", ".join(one["feature"].replace("_", " ") for one in found)
    return f"drift of what is asked: {names}"


def no_drift(drift: Json) -> str | None:
    """Enough was predicted to see no drift."""
    evidence, threshold = drift["log_evidence"], drift["log_evidence_threshold"]
    if drift["observations"] < _ENOUGH or drift["status"] != "ok" or evidence is None:
        return None
    return (
        f"no drift in {drift['observations']:,} predictions: "
        f"evidence {evidence:.1f} of {threshold:.1f} nats"
    )


def clicks_missing(quality: Json) -> str | None:
    """Fewer clicks came than predicted, beyond what chance and immaterial differences explain."""
    interval = quality["calibration_interval"]
    if quality["status"] == "insufficient_data" or interval is None or interval[0] < _TOO_MANY:
        return None
    return _calibration(quality) + ": the model predicts too many"


def clicks_back(quality: Json) -> str | None:
    """As many clicks come as predicted, as far as chance allows to say."""
    interval = quality["calibration_interval"]
    if quality["status"] == "insufficient_data" or interval is None:
        return None
    low, high = interval
    return _calibration(quality) if low <= 1 and (high is None or high >= 1) else None


def calibration_alarm(drift: Json) -> str | None:
    """The test of calibration has raised its alarm."""
    for one in drift["drifts"]:
        if one["type"] == "calibration_shift":
            return (
                f"drift: calibration shift, clicks {one['effect']:+.0%} of what is predicted, "
                f"evidence {one['log_evidence']:.1f} of {one['log_evidence_threshold']:.1f} nats"
            )
    return None


def calibration_evidence(drift: Json) -> str | None:
    """How far the test of calibration is."""
    test = drift["calibration"]
    if test is None or test["log_evidence"] is None or test["log_evidence"] <= 0:
        return None
    return (
        f"test of calibration: evidence {test['log_evidence']:.1f} of "
        f"{test['log_evidence_threshold']:.1f} nats; a minute adds one at most"
    )


def in_mlflow(metric: str, words: str, *, at_least: float = 0.0, at_most: float = inf) -> Says:
    """MLflow has a number of a window, within bounds."""

    def says(run: Json) -> str | None:
        value = metrics(run).get(metric)
        if value is None or not at_least <= value <= at_most:
            return None
        return f"MLflow: {words} {value:.3g}, {run['url']}"

    return says


def metrics(run: Json) -> Mapping[str, float]:
    """Newest value of every metric of a run in MLflow."""
    return {one["key"]: one["value"] for one in run["run"]["data"].get("metrics", [])}


def alerts(answer: Json) -> Mapping[str, str]:
    """State of each alert that Prometheus has, by name and model."""
    return {
        f"{one['labels']['alertname']} {one['labels'].get('model', '')}".strip(): one["state"]
        for one in answer["data"]["alerts"]
    }


def _checks(health: Json) -> Mapping[str, str]:
    model = health["models"].get(MODEL, {"checks": []})
    return {check["name"]: check["status"] for check in model["checks"]}


def _calibration(quality: Json) -> str:
    low, high = quality["calibration_interval"]
    return (
        f"quality: {quality['clicks']:,} clicks came, {_figure(quality['calibration_ratio'])} "
        f"were predicted for each (95 % interval {_figure(low)} to {_figure(high)})"
    )


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
