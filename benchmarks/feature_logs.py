"""Real click logs as control and, with a change planted, as what must be found."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.feature_changes import PEERS
from benchmarks.feature_hearing import OURS, Heard, Rows, detector_of, listen
from service.monitoring.drift.ticks import TICK_SECONDS
from service.monitoring.feature_drift.detector import FeatureDetector
from service.prediction.features import UNSEEN, FeatureEncoder
from service.training.baseline import baseline_of
from service.training.click_log import ClickLog
from service.training.encoding import fit_encoder
from service.training.log_files import read_click_log

_HOUR = 3600
_VALIDATION = 0.25
"""Share of a log that training judges on."""

Indices = NDArray[np.int64]
"""Of each row's value in the vocabulary of each feature, shape ``(n, features)``."""
Change = Callable[[Indices, FeatureEncoder, np.random.Generator], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A baseline and the rows that come after it."""

    name: str
    encoder: FeatureEncoder
    detector: FeatureDetector
    log: ClickLog
    seconds: NDArray[np.float64]
    """When each row came, in Unix seconds."""

    def hear(self, change: Change | None = None) -> Heard:
        """Fold the rows, changed from the first on."""
        indices = self.encoder.value_indices(self.log.requests())
        if change is not None:
            change(indices, self.encoder, np.random.default_rng(1))
        return listen(self.detector, _ticks(self.encoder, self.seconds, indices))


def _device(points: float) -> Change:
    def change(indices: Indices, encoder: FeatureEncoder, rng: np.random.Generator) -> None:
        column = indices[:, list(encoder.vocabularies).index("device")]
        first = np.flatnonzero(column == 0)
        chosen = rng.random(len(first)) < points * len(column) / len(first)
        column[first[chosen]] = 1

    return change


def _new_ads(points: float) -> Change:
    def change(indices: Indices, encoder: FeatureEncoder, rng: np.random.Generator) -> None:
        column = indices[:, list(encoder.vocabularies).index("ad")]
        column[rng.random(len(column)) < points] = encoder.vocabularies["ad"].index(UNSEEN)

    return change


def _later_hour(indices: Indices, encoder: FeatureEncoder, rng: np.random.Generator) -> None:
    del rng
    column = indices[:, list(encoder.vocabularies).index("hour")]
    column[:] = (column + 1) % 24


_CHANGES: Mapping[str, tuple[str, Change]] = {
    "device +5 points": ("device", _device(0.05)),
    "device +20 points": ("device", _device(0.2)),
    "new ads, 30 %": ("ad", _new_ads(0.3)),
    "new ads, 60 %": ("ad", _new_ads(0.6)),
    "hour shifted by one": ("hour", _later_hour),
}


def trials(folder: Path) -> Iterator[Trial]:
    """Every way to divide the logs; those whose file is missing are left out."""
    path = folder / "talkingdata_dev.csv.gz"
    if path.exists():
        log = read_click_log([path])
        seconds = _seconds(log)
        begin = seconds[0] // _HOUR * _HOUR
        cuts = [int(np.searchsorted(seconds, begin + h * _HOUR)) for h in (6, 30, 24)]
        encoder = fit_encoder(log[: cuts[0]])
        yield _trial(
            "talkingdata, 18 h against the same hours of the day before",
            encoder,
            log[cuts[0] : cuts[1]],
            log[cuts[1] :],
        )
        yield _as_trained("talkingdata, day 2 as trained on day 1", log[: cuts[2]], log[cuts[2] :])
    path = folder / "avazu_dev.csv.gz"
    if path.exists():
        log = read_click_log([path])
        seconds = _seconds(log)
        late = int(np.searchsorted(seconds, seconds[0] // _HOUR * _HOUR + 6 * _HOUR))
        encoder = fit_encoder(log[:late])
        rest = log[late:]
        yield _trial(
            "avazu, every other row of 18 h against the others", encoder, rest[::2], rest[1::2]
        )
        cut = int(np.searchsorted(seconds, seconds[0] // _HOUR * _HOUR + 16 * _HOUR))
        yield _as_trained("avazu, 8 h as trained on the 16 h before", log[:cut], log[cut:])


def print_logs(folder: Path) -> None:
    """Print a table for each trial."""
    tools = (OURS, *(peer.name for peer in PEERS))
    for trial in trials(folder):
        normal = trial.hear()
        hours = (trial.seconds[-1] - trial.seconds[0]) / _HOUR
        heard = {name: (feature, trial.hear(c)) for name, (feature, c) in _CHANGES.items()}
        print(f"\n| {trial.name} | pages in {hours:.0f} h | features |", " | ".join(heard), "|")
        print("|" + " --- |" * (3 + len(heard)))
        for tool in tools:
            wrong = sorted(feature for name, feature in normal.first if name == tool)
            cells = [
                _delay(one.first.get((tool, feature)), trial.seconds[0], known=feature in wrong)
                for feature, one in heard.values()
            ]
            print(f"| {tool} | {normal.pages[tool]} | {', '.join(wrong)} |", " | ".join(cells), "|")
        print(f"\nEvidence of the control at most {normal.evidence:.1f}.", flush=True)


def _delay(at: float | None, start: float, *, known: bool) -> str:
    if known:
        return "-"
    return "never" if at is None else f"{(at - start) / 60:.0f} min"


def _trial(name: str, encoder: FeatureEncoder, known: ClickLog, later: ClickLog) -> Trial:
    return _of(name, encoder, encoder, known, later)


def _as_trained(name: str, known: ClickLog, later: ClickLog) -> Trial:
    """Take the baseline that training would ship: what is unseen is so to an earlier encoder."""
    cut = round(len(known) * (1 - _VALIDATION))
    return _of(name, fit_encoder(known[:cut]), fit_encoder(known), known[cut:], later)


def _of(
    name: str, judged: FeatureEncoder, shipped: FeatureEncoder, known: ClickLog, later: ClickLog
) -> Trial:
    baseline = baseline_of(
        np.linspace(0.01, 0.02, len(known)),
        known,
        judged=judged,
        shipped=shipped,
        model_name="benchmark",
        model_version="1",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return Trial(
        name=name,
        encoder=shipped,
        detector=detector_of(baseline.features),
        log=later,
        seconds=_seconds(later),
    )


def _seconds(log: ClickLog) -> NDArray[np.float64]:
    """When rows came; those that know the hour only are spread over it."""
    if log.timestamp is None:
        raise ValueError("the log has no timestamps")
    seconds = log.timestamp.astype("datetime64[s]").astype(np.float64)
    if not (seconds % _HOUR).any():
        for hour in np.unique(seconds):
            rows = np.flatnonzero(seconds == hour)
            seconds[rows] += _HOUR * np.arange(len(rows)) / len(rows)
    return seconds


def _ticks(
    encoder: FeatureEncoder, seconds: NDArray[np.float64], indices: Indices
) -> Iterator[Rows]:
    ticks = (seconds // TICK_SECONDS).astype(np.int64) + 1
    for tick in range(int(ticks[0]), int(ticks[-1]) + 1):
        low, high = np.searchsorted(ticks, [tick, tick + 1])
        counts: dict[tuple[str, str], float] = {}
        for place, (feature, values) in enumerate(encoder.vocabularies.items()):
            drawn = np.bincount(indices[low:high, place], minlength=len(values)).tolist()
            counts |= {(feature, v): float(n) for v, n in zip(values, drawn, strict=True)}
        yield tick * TICK_SECONDS, counts
