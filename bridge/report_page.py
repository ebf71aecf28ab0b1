"""Draws the daily report; the only module that imports matplotlib."""

import base64
import html
import io
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure

from bridge.report import Day
from service.monitoring.drift.budget import LOG_THRESHOLD

_BLUE, _ORANGE, _RED = "#2563a8", "#c2690c", "#b3261e"

_MARGIN = 60

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; }}
img {{ width: 100%; height: auto; }} h1 {{ font-size: 1.4rem; }} h2 {{ font-size: 1.05rem; }}
th {{ text-align: left; font-weight: normal; padding-right: 2rem; }} td {{ text-align: right; }}
</style>
<h1>{title}</h1>
{figures}
<h2>The day in numbers</h2>
<table>{rows}</table>
</html>
"""


def page_of(day: Day) -> str:
    """Draw the page: self-contained HTML."""
    run = day.run
    title = html.escape(f"{run.model_name} {run.model_version} on {run.day} (UTC)")
    rows = "".join(
        f"<tr><th>{html.escape(name.removeprefix('day/'))}</th><td>{value:.6g}</td></tr>"
        for name, value in sorted(day.day.items())
    )
    return _PAGE.format(
        title=title,
        figures="".join(_figure(name, draw, day) for name, draw in _FIGURES.items()),
        rows=rows or "<tr><td>the day is not over</td></tr>",
    )


def _figure(name: str, draw: Callable[[Axes, Day], bool], day: Day) -> str:
    figure = Figure(figsize=(9, 2.6), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    heading = html.escape(name)
    if not draw(axes, day):
        return f"<h2>{heading}</h2><p>There is nothing to show.</p>"
    content = io.BytesIO()
    figure.savefig(content, format="svg", metadata={"Date": None})
    data = base64.b64encode(content.getvalue()).decode()
    return f'<h2>{heading}</h2><img alt="{heading}" src="data:image/svg+xml;base64,{data}">'


def _latency(axes: Axes, day: Day) -> bool:
    axes.set_ylabel("ms")
    return _lines(axes, day, {"p50_latency_ms": "p50", "p95_latency_ms": "p95"})


def _rate(axes: Axes, day: Day) -> bool:
    axes.set_ylabel("requests a minute")
    return _lines(axes, day, {"requests_per_minute": "all"})


def _errors(axes: Axes, day: Day) -> bool:
    axes.set_ylabel("percent")
    return _lines(axes, day, {"error_rate": "error rate"})


def _scores(axes: Axes, day: Day) -> bool:
    total = day.score_counts.sum()
    if not total:
        return False
    # The last bucket has no upper bound; none of a ratio's predictions is above 1.
    edges = np.concatenate([[0.0], day.score_bounds[:-1]])
    shares = day.score_counts[: len(edges) - 1] / total
    axes.stairs(shares / np.diff(edges), edges, fill=True, color=_BLUE, alpha=0.7)
    seen = np.flatnonzero(shares)
    axes.set_xlim(0, float(edges[seen[-1] + 1]) if len(seen) else 1.0)
    axes.set_xlabel("predicted click-through rate")
    axes.set_ylabel("density")
    return True


def _drift(axes: Axes, day: Day) -> bool:
    axes.axhline(LOG_THRESHOLD, color=_RED, linewidth=1)
    axes.set_ylabel("log evidence")
    return _lines(axes, day, {"drift_log_evidence": "evidence"})


def _lines(axes: Axes, day: Day, names: dict[str, str]) -> bool:
    drawn, lowest = False, 0.0
    for (name, label), color in zip(names.items(), (_BLUE, _ORANGE), strict=False):
        found = [(at, w[name]) for at, w in sorted(day.windows.items()) if name in w]
        if not found:
            continue
        times, values = _columns(found)
        axes.plot(times, values, color=color, label=label, linewidth=1, marker=".", markersize=2)
        lowest = min(lowest, *values)
        drawn = True
    if drawn:
        axes.set_ylim(bottom=lowest)
        # All plots show the same span, also where a quantity was not there all the time.
        axes.set_xlim(_place(min(day.windows) - _MARGIN), _place(max(day.windows) + _MARGIN))
    locator = AutoDateLocator()  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    if len(names) > 1 and drawn:
        axes.legend(frameon=False, loc="upper left")
    return drawn


def _place(at: int) -> float:
    return float(date2num(np.datetime64(at, "s")))  # type: ignore[no-untyped-call]


def _columns(found: Sequence[tuple[int, float]]) -> tuple[list[np.datetime64], list[float]]:
    times, values = zip(*found, strict=True)
    return [np.datetime64(at, "s") for at in times], list(values)


_FIGURES: dict[str, Callable[[Axes, Day], bool]] = {
    "Latency": _latency,
    "Traffic": _rate,
    "Errors": _errors,
    "Predictions": _scores,
    "Drift: evidence against its threshold": _drift,
}
