"""Draws `docs/drift.svg`: two days of traffic, a shift of 10 % for six hours, and the evidence.

python -m benchmarks.drift_plot
"""

from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from benchmarks.drift_runs import START, prepared
from benchmarks.drift_streams import SEASON, Effect, stream
from service.monitoring.drift.budget import LOG_CLEAR, LOG_THRESHOLD
from service.monitoring.drift.ticks import TICK_SECONDS

_FILE = Path(__file__).parents[1] / "docs" / "drift.svg"
_DAY = 5760
_SHIFT = slice(_DAY + 600, _DAY + 600 + 1440)
_MINUTES_5 = 20
_BLUE, _RED, _GREY = "#2563a8", "#b3261e", "#6b7280"


def main() -> None:
    """Draw."""
    rng = np.random.default_rng(20)
    scenario = replace(SEASON, per_tick=300)
    detector, _ = prepared(rng, scenario, 0.01)
    shifted = Effect(factor=1.10)
    lengths = (_SHIFT.start, _SHIFT.stop - _SHIFT.start, 2 * _DAY - _SHIFT.stop)
    state, evidence, means = detector.start(), [], []
    begin = START
    for length, effect in zip(lengths, (None, shifted, None), strict=True):
        ticks = stream(rng, scenario, length, start=begin, effect=effect)
        begin += length * TICK_SECONDS
        state, said = detector.advance(state, ticks)
        evidence.append(said.log_evidence[:, 0])
        means.append(ticks.predictions.total / np.maximum(ticks.predictions.count, 1))
    hours = np.arange(2 * _DAY) * TICK_SECONDS / 3600
    mean = np.concatenate(means).reshape(-1, _MINUTES_5).mean(axis=1)

    mpl.rcParams |= {"svg.hashsalt": "drift", "font.size": 9, "svg.fonttype": "none"}
    figure = Figure(figsize=(8, 4.4), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1.2))
    above.plot(hours[::_MINUTES_5], 100 * mean, color=_BLUE, linewidth=0.8)
    above.set_ylabel("mean score, 5 min\n(percent)")
    most = np.concatenate(evidence).reshape(-1, _MINUTES_5).max(axis=1)
    below.plot(hours[::_MINUTES_5], most, color=_BLUE, linewidth=1)
    below.axhline(LOG_THRESHOLD, color=_RED, linewidth=1)
    below.text(0.3, LOG_THRESHOLD + 0.3, f"alarm at {LOG_THRESHOLD:.2f}", color=_RED)
    below.axhline(LOG_CLEAR, color=_GREY, linewidth=0.8, linestyle="--")
    below.text(0.3, LOG_CLEAR - 1.9, f"clears after 15 min under {LOG_CLEAR:.2f}", color=_GREY)
    below.set_ylabel("log evidence\n(most in 5 min)")
    below.set_xlabel("hours")
    for axes in (above, below):
        axes.axvspan(hours[_SHIFT.start], hours[_SHIFT.stop], color=_RED, alpha=0.08, linewidth=0)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.01)
    above.set_title("A shift of 10 % (shaded) inside a daily course of 15 %", loc="left")
    figure.savefig(_FILE, metadata={"Date": None})


if __name__ == "__main__":
    main()
