"""The test of calibration measured: false alarms, delays, the usual tools; tables in Markdown.

    python -m benchmarks.calibration                        some two minutes
    python -m benchmarks.calibration --months 8 --runs 40   a quarter of an hour

Cohorts are simulated (see `calibration_streams`). The bound is Lorden's for anyone who is silent
within the zone and has the same expected run length: log A divided by the information of a
minute about which of two is true, the change or the near end of the zone. The CUSUM knows
the change, sees every score, and has the same expected run length.
"""

import argparse
import math
from collections.abc import Callable, Mapping
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from benchmarks.calibration_streams import MINUTES_PER_DAY, Change, Scenario, Stream, stream
from service.monitoring.buckets import PREDICTION_BOUNDS
from service.monitoring.calibration.detector import CalibrationDetector
from service.monitoring.calibration.ticks import Floats
from service.monitoring.drift.budget import LOG_THRESHOLD

ZONE = 0.1
_MONTH = 30 * MINUTES_PER_DAY
_WARM = 2 * MINUTES_PER_DAY
"""Normal days before a change."""
_ROUNDING = 1e-12
_LIMIT = 12 * MINUTES_PER_DAY

CONTROLS = {
    "iid, CTR 0.5 %, 300 a minute": Scenario(ctr=0.005, per_minute=300),
    "iid, CTR 2 %": Scenario(),
    "iid, CTR 17 %": Scenario(ctr=0.17),
    "ratio 1.10 throughout (end of the zone)": Scenario(ratio=1.1),
    "ratio 0.90 throughout, CTR 17 %": Scenario(ratio=0.9, ctr=0.17),
    "power-law users in sessions, CTR 2 %, 300 a minute": Scenario(users=True, per_minute=300),
    "the same, CTR 17 %, 200 a minute": Scenario(users=True, ctr=0.17, per_minute=200),
    "ratio wanders 3 % for 30 minutes, CTR 17 %": Scenario(wander=0.03, ctr=0.17),
    "ratio wanders 5 % for 3 hours, CTR 17 %": Scenario(wander=0.05, wander_minutes=180, ctr=0.17),
    "ratio +-8 % by hour, traffic +-60 %, CTR 17 %": Scenario(season=0.08, ctr=0.17),
    "users, wander of 3 %, +-5 % by hour, CTR 17 %, 200 a minute": Scenario(
        season=0.05, wander=0.03, users=True, ctr=0.17, per_minute=200
    ),
}

Peer = Callable[[Stream], NDArray[np.bool_]]
"""Whether each whole day is called miscalibrated."""


def evidence(seen: Stream, zone: float = ZONE) -> Floats:
    """Log evidence after every cohort."""
    detector = CalibrationDetector(zone=zone, key="benchmark")
    return detector.advance(detector.start(), seen.ticks())[1]


def until_alarm(seen: Stream, change: Change) -> float:
    """Minutes from the change to our alarm; the limit where there is none."""
    raised = np.flatnonzero(evidence(seen) >= LOG_THRESHOLD)
    late = raised[raised >= change.at]
    return float(late[0] - change.at + 1) if len(late) else float(_LIMIT)


def until_day(peer: Peer, seen: Stream, change: Change) -> float:
    """Minutes from the change to the end of the first day that a peer calls miscalibrated."""
    off = np.flatnonzero(peer(seen)[change.at // MINUTES_PER_DAY :])
    return float((off[0] + 1) * MINUTES_PER_DAY) if len(off) else float(_LIMIT)


def information(scenario: Scenario, change: Change, zone: float = ZONE) -> float:
    """Nats a minute about the change against the near end of the zone; 0 within it."""
    p = scenario.scores()
    true = np.minimum(change.factors(p) * p, 1)
    near = np.clip(change.factors(p), 1 - zone, 1 + zone) * p
    nats = true * np.log(true / near) + (1 - true) * np.log((1 - true) / (1 - near))
    mean = float(nats.mean())
    return scenario.per_minute * mean if mean > _ROUNDING else 0.0


def known_change_cusum(seen: Stream, scenario: Scenario, change: Change) -> float:
    """Minutes until the CUSUM that knows the change is over its threshold.

    ARL ~ exp(h) / I with the information I of a minute; the overshoot is left out.
    """
    p = seen.scores
    true = change.factors(p) * p
    near = np.clip(change.factors(p), 1 - ZONE, 1 + ZONE) * p
    nats = information(scenario, change)
    clicks, others = seen.clicks, seen.predictions - seen.clicks
    steps = clicks @ np.log(true / near) + others @ np.log((1 - true) / (1 - near))
    height, threshold = 0.0, LOG_THRESHOLD + math.log(nats)
    for minute, step in enumerate(steps.tolist()):
        height = max(height, 0.0) + step
        if minute >= change.at and height >= threshold:
            return float(minute - change.at + 1)
    return float(_LIMIT)


def _days(values: NDArray[np.int64]) -> NDArray[np.int64]:
    whole = len(values) // MINUTES_PER_DAY * MINUTES_PER_DAY
    by_day = values[:whole].reshape(-1, MINUTES_PER_DAY, values.shape[1])
    return np.asarray(by_day.sum(axis=1))


def z_of_day(limit: float, zone: float = 0.0) -> Peer:
    """Clicks of a day against what was predicted, or the near end of a zone, in errors."""

    def peer(seen: Stream) -> NDArray[np.bool_]:
        n, k, p = _days(seen.predictions), _days(seen.clicks).sum(axis=1), seen.scores
        promised, error = n @ p, np.sqrt(n @ (p * (1 - p)))
        return np.asarray(np.abs(k - promised) - zone * promised > limit * error)

    return peer


def hosmer_lemeshow(seen: Stream) -> NDArray[np.bool_]:
    """Clicks of a day by bucket against what was predicted, chi-square at 5 %.

    Source: Hosmer & Lemeshow (1980); Wilson & Hilferty (1931) for the quantile.
    """
    bucket = np.searchsorted(PREDICTION_BOUNDS, seen.scores)
    groups = np.unique(bucket)
    place = (bucket[:, None] == groups).astype(float)
    n, k = _days(seen.predictions), _days(seen.clicks) @ place
    promised, variance = (n * seen.scores) @ place, (n * seen.scores * (1 - seen.scores)) @ place
    chi_square = ((k - promised) ** 2 / variance).sum(axis=1)
    g = len(groups)
    limit = g * (1 - 2 / (9 * g) + NormalDist().inv_cdf(0.95) * math.sqrt(2 / (9 * g))) ** 3
    return np.asarray(chi_square > limit)


_PEER = "z of a day beyond the zone, 1 % a month"
PEERS: Mapping[str, Peer] = {
    "z of a day > 1.96": z_of_day(1.96),
    _PEER: z_of_day(NormalDist().inv_cdf(1 - 0.01 / 60), ZONE),
    "Hosmer-Lemeshow of a day, 5 %": hosmer_lemeshow,
}


def print_line(*cells: str) -> None:
    """As Markdown."""
    print("|", " | ".join(cells), "|", flush=True)


def print_controls(months: int) -> None:
    """False alarms while the ratio is within the zone."""
    print_line("normal months", "with an alarm", "evidence at most", *PEERS)
    print_line(*["---"] * (3 + len(PEERS)))
    for number, (name, scenario) in enumerate(CONTROLS.items()):
        peaks, days = [], dict.fromkeys(PEERS, 0)
        for month in range(months):
            seen = stream(np.random.default_rng([number, month]), scenario, _MONTH)
            peaks.append(float(evidence(seen).max()))
            for peer, says in PEERS.items():
                days[peer] += int(says(seen).sum())
        alarms = sum(peak >= LOG_THRESHOLD for peak in peaks)
        print_line(
            name,
            f"{alarms} of {months}",
            f"{max(peaks):.1f}",
            *(f"{100 * days[peer] / 30 / months:.0f} % of days" for peer in PEERS),
        )


CHANGES = {
    "0.8": Change(at=_WARM, ratio=0.8),
    "0.9": Change(at=_WARM, ratio=0.9),
    "1.2": Change(at=_WARM, ratio=1.2),
    "1.5": Change(at=_WARM, ratio=1.5),
    "1, clicks as p^0.6": Change(at=_WARM, power=0.6),
    "1, clicks as p^0.3": Change(at=_WARM, power=0.3),
}
TRAFFIC = {
    "0.5 %, 1,000 a minute": Scenario(ctr=0.005),
    "0.5 %, 10,000 a minute": Scenario(ctr=0.005, per_minute=10_000),
    "2 %, 300 a minute": Scenario(per_minute=300),
    "2 %, 3,000 a minute": Scenario(per_minute=3000),
    "17 %, 100 a minute": Scenario(ctr=0.17, per_minute=100),
    "17 %, 1,000 a minute": Scenario(ctr=0.17),
}


def print_delays(runs: int) -> None:
    """Minutes from a change to the alarm."""
    print()
    print_line("CTR and traffic", "ratio", "bound", "CUSUM that knows", "ours", _PEER)
    print_line(*["---"] * 6)
    for traffic, scenario in TRAFFIC.items():
        for name, change in CHANGES.items():
            print_line(traffic, name, *_delays(scenario, change, runs))


def _delays(scenario: Scenario, change: Change, runs: int) -> list[str]:
    nats = information(scenario, change)
    needed = 6 * LOG_THRESHOLD / nats if nats else _LIMIT
    minutes = _WARM + min(round(needed) + 2 * MINUTES_PER_DAY, _LIMIT)
    rows = []
    for run in range(runs):
        seen = stream(np.random.default_rng([7, run]), scenario, minutes, change)
        known = known_change_cusum(seen, scenario, change) if nats else _LIMIT
        rows.append((known, until_alarm(seen, change), until_day(PEERS[_PEER], seen, change)))
    bound = f"{LOG_THRESHOLD / nats:.0f}" if nats else "within the zone"
    return [bound, *(_mean(np.array(column)) for column in zip(*rows, strict=True))]


def _mean(minutes: Floats) -> str:
    missed = int((minutes >= _LIMIT).sum())
    if missed == len(minutes):
        return "never"
    return f"> {minutes.mean():.0f} ({missed} missed)" if missed else f"{minutes.mean():.0f}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--months", type=int, default=1, help="control months of a scenario")
    parser.add_argument("--runs", type=int, default=6, help="runs of a change")
    asked = parser.parse_args()
    print_controls(asked.months)
    print_delays(asked.runs)


if __name__ == "__main__":
    main()
