"""Puts the queries of dashboards to a real Prometheus and says what a reader would miss."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_server import Prometheus

DASHBOARDS = Path(__file__).parents[1] / "deploy/grafana/dashboards"
_NAME = re.compile(r"\b[a-zA-Z_:][\w:]*\b(?=\s*[{\[])")
_PLACE = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_LABEL_VALUES = re.compile(r"label_values\((.+), (\w+)\)")


@dataclass(frozen=True)
class Target:
    """One query of one panel."""

    dashboard: str
    panel: Mapping[str, Any]
    expression: str
    legend: str
    instant: bool
    name: str

    @property
    def title(self) -> str:
        title: str = self.panel["title"]
        return title

    def __str__(self) -> str:
        return f"{self.dashboard}: {self.title} ({self.name})"

    @property
    def metrics(self) -> set[str]:
        return set(_NAME.findall(self.expression))


@dataclass(frozen=True)
class Choice:
    """What is chosen in a dashboard's variables, and the period that it shows."""

    start: float
    end: float
    values: Mapping[str, str]
    rate_interval: str = "5s"

    def __call__(self, text: str) -> str:
        """Substitute the variables, as Grafana does."""
        spans = {
            "$__rate_interval": self.rate_interval,
            "$__range": f"{self.end - self.start:.0f}s",
        }
        for name, value in (spans | {f"${name}": v for name, v in self.values.items()}).items():
            text = text.replace(name, value)
        assert not re.search(r"\$[a-z_{]", text), f"a variable without a value: {text}"
        return text


def load(folder: Path = DASHBOARDS) -> dict[str, dict[str, Any]]:
    return {path.name: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def targets(name: str, dashboard: Mapping[str, Any]) -> Iterator[Target]:
    for panel in dashboard["panels"]:
        yield from targets_of(name, panel)


def targets_of(dashboard: str, panel: Mapping[str, Any]) -> Iterator[Target]:
    for target in panel.get("targets", []):
        yield Target(
            dashboard=dashboard,
            panel=panel,
            expression=target["expr"],
            legend=target["legendFormat"],
            instant=target.get("instant", False),
            name=target["refId"],
        )


def findings(prometheus: Prometheus, target: Target, choice: Choice) -> list[str]:
    """Say what is wrong with what a query returns; nothing where a reader sees what he should."""
    series = answer(prometheus, target, choice)
    if not any(finite(one) for one in series):
        return [f"{target}: no data"]
    needed = set(_PLACE.findall(target.legend))
    missing = needed - set.intersection(*(set(one["metric"]) for one in series))
    if missing:
        return [f"{target}: the legend needs {', '.join(sorted(missing))}"]
    legends = [legend(target, one["metric"]) for one in series]
    if len(set(legends)) < len(legends):
        return [f"{target}: several series of one name: {', '.join(sorted(legends))}"]
    return []


def legend(target: Target, labels: Mapping[str, str]) -> str:
    """Name of a series in the panel."""
    return _PLACE.sub(lambda place: labels.get(place[1], ""), target.legend)


def answer(
    prometheus: Prometheus, target: Target, choice: Choice, *, step: float = 1
) -> list[dict[str, Any]]:
    expression = choice(target.expression)
    if target.instant:
        return prometheus.query(expression, at=choice.end)
    return prometheus.query_range(expression, start=choice.start, end=choice.end, step=step)


def finite(series: Mapping[str, Any]) -> bool:
    """Whether there is a number in it that a panel can draw."""
    points = series.get("values") or [series["value"]]
    return any(math.isfinite(float(value)) for _, value in points)


def offered(prometheus: Prometheus, variable: Mapping[str, Any], choice: Choice) -> list[str]:
    """Values that a variable offers its reader."""
    query = _LABEL_VALUES.fullmatch(variable["query"])
    assert query is not None, variable["query"]
    return prometheus.label_values(query[2], choice(query[1]), start=choice.start, end=choice.end)
