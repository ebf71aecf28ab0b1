"""`python -m service replay`: what the drift detector would have said, with other settings too.

Of recorded ticks in files, or of the service's own history.
"""

import argparse
import json
import math
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from service.command_line import Command, ExitStatus, UsageError, add_json
from service.logs import say
from service.monitoring.baseline import Baseline
from service.monitoring.drift.budget import LOG_THRESHOLD
from service.monitoring.drift.detector import DriftDetector, Evidence
from service.monitoring.drift.from_ticks import baseline_from_ticks
from service.monitoring.drift.reference import Reference
from service.monitoring.drift.ticks import Ticks
from service.monitoring.drift.window_test import DriftThresholds
from service.prediction.model_folder import ModelFolderError, load_models
from service.settings import InvalidSettingsError, Settings
from service.sources.active_baselines import ActiveBaselines
from service.sources.recorded_ticks import recorded_ticks
from service.state.errors import StateError
from service.state.store import open_state
from service.tick_files import UnusableTicksError, read_both


def _run(flags: argparse.Namespace) -> int:
    files = flags.reference is not None and flags.ticks is not None
    if not files and (flags.reference or flags.ticks or flags.start is None):
        raise UsageError("give --reference and --ticks, or --since for the service's own history")
    settings = Settings.from_environment(os.environ)
    materiality = settings.materiality if flags.materiality is None else flags.materiality
    if files:
        evidence = _replay_files(flags.reference, flags.ticks, materiality)
    else:
        end = flags.end or datetime.now(UTC)
        span = flags.start.timestamp(), end.timestamp()
        evidence = _replay_history(settings, flags.model, span, materiality)
    _print(evidence, as_json=flags.json)
    return ExitStatus.DONE


def replay(
    baseline: Baseline,
    ticks: Ticks,
    *,
    materiality: float,
    thresholds: DriftThresholds | None = None,
) -> Evidence:
    """Fold ticks through a fresh detector.

    Args:
        baseline: What is normal.
        ticks: Traffic to judge.
        materiality: Change of the mean, as a share of it, that nobody wants to hear of.
        thresholds: Of the window test.

    Raises:
        ValueError: The baseline cannot be used.
    """
    reference = Reference.of(baseline, materiality=materiality)
    detector = DriftDetector(reference, key="replay", thresholds=thresholds)
    return detector.advance(detector.start(), ticks)[1]


def _replay_files(reference: Path, ticks: Path, materiality: float) -> Evidence:
    good, seen = read_both(reference, ticks)
    if seen.time[0] < good.time[-1]:
        _note(f"note: {ticks} begins at {_iso(seen.time[0])}, before {reference} ends")
    try:
        baseline = baseline_from_ticks(
            good,
            model_name="replay",
            model_version="replay",
            created_at=datetime.fromtimestamp(float(good.time[-1]), tz=UTC),
            created_by="replay",
        )
        if baseline.prediction_wander is None:
            _note(
                f"commissioning: {reference} has too few ticks to tell how much means wander, "
                "so only gross changes are found; give a day or more"
            )
        return replay(baseline, seen, materiality=materiality)
    except ValueError as error:
        raise UnusableTicksError(f"{reference}: {error}") from error


def _replay_history(
    settings: Settings, model: str | None, span: tuple[float, float], materiality: float
) -> Evidence:
    """Replay what the service stored, against the baseline that is in force now."""
    trained = {name: b.baseline for name, b in load_models(settings.models_dir).items()}
    if model is None and len(trained) == 1:
        [model] = trained
    if model is None or model not in trained:
        raise UnusableTicksError(f"give --model, one of {', '.join(trained)}")
    with open_state(settings.state_store) as state:
        baseline = ActiveBaselines(lambda: trained, state.baselines).of(model).baseline
        history = state.history(settings.scope)
        ticks = recorded_ticks(history, model, baseline.model_version, *span)
    if ticks is None:
        raise UnusableTicksError(
            f"the history of {settings.scope} has no ticks of {model} "
            f"version {baseline.model_version} in that span"
        )
    try:
        return replay(
            baseline, ticks, materiality=materiality, thresholds=settings.drift_thresholds
        )
    except ValueError as error:
        raise UnusableTicksError(f"the baseline of {model}: {error}") from error


def summary_of(evidence: Evidence) -> dict[str, Any]:
    """Put it as one JSON object; a month without a tick has no greatest evidence."""
    log_evidence = evidence.log_evidence
    return {
        "ticks": len(log_evidence),
        "alarms": [
            {
                "tick": alarm.tick,
                "time": alarm.time,
                "type": alarm.kind,
                "channel": alarm.channel,
                "log_evidence": alarm.log_evidence,
                "log_evidence_threshold": alarm.log_evidence_threshold,
                "since": alarm.since,
                "renamed": alarm.renamed,
            }
            for alarm in evidence.alarms
        ],
        "max_log_evidence": float(log_evidence.max()) if len(log_evidence) else None,
        "threshold": LOG_THRESHOLD,
    }


def _print(evidence: Evidence, *, as_json: bool) -> None:
    summary = summary_of(evidence)
    if as_json:
        print(json.dumps(summary, allow_nan=False))
        return
    most = summary["max_log_evidence"]
    print(f"{summary['ticks']} ticks, evidence at most {most:.2f} of {LOG_THRESHOLD:.2f}")
    for alarm in summary["alarms"]:
        print(f"{_iso(alarm['time'])}  {alarm['type']}  ({alarm['channel']})")


def _note(text: str) -> None:
    say(text, to=sys.stderr)


def _iso(unix_seconds: float) -> str:
    return datetime.fromtimestamp(unix_seconds, tz=UTC).isoformat(timespec="seconds")


def _add_flags(parser: argparse.ArgumentParser) -> None:
    files = parser.add_argument_group("from files")
    files.add_argument("--reference", type=Path, metavar="FILE", help="ticks that were right, .npz")
    files.add_argument("--ticks", type=Path, metavar="FILE", help="ticks to judge, .npz")
    own = parser.add_argument_group("from the service's own history")
    own.add_argument(
        "--since", dest="start", type=_time, metavar="TIME", help="ISO time, UTC by default"
    )
    own.add_argument("--until", dest="end", type=_time, metavar="TIME", help="by default now")
    own.add_argument("--model", metavar="NAME", help="which model; needed where there are several")
    parser.add_argument(
        "--materiality",
        type=_share,
        metavar="SHARE",
        help="change of the mean, as a share of it, that is immaterial (CTR_MATERIALITY, 0.01)",
    )
    add_json(parser)


REPLAY = Command(
    name="python -m service replay",
    summary="replay recorded ticks, or the service's history, through the drift detector",
    add_flags=_add_flags,
    run=_run,
    process="replay",
    epilog="The history is found through the service's CTR_ settings, which also give the "
    "thresholds; the baseline is the one in force now.",
    misuses=(InvalidSettingsError,),
    failures=(ModelFolderError, StateError, UnusableTicksError),
)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share; give one of 0 up to 1, as 0.02")
    return value


def _time(text: str) -> datetime:
    try:
        given = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time; give it as 2026-11-23T14:00"
        ) from error
    return given if given.tzinfo else given.replace(tzinfo=UTC)
