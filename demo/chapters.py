"""The story: what happens, what to look at, and what the service should say about it."""

from collections.abc import Sequence
from dataclasses import dataclass

from demo.places import Places
from demo.questions import MODEL, Source
from demo.signs import (
    Sign,
    calibration_alarm,
    calibration_evidence,
    clicks_back,
    clicks_missing,
    drifted,
    errors_over,
    features_drifted,
    healthy,
    in_mlflow,
    no_drift,
    not_healthy,
    rehearsed,
)
from demo.stage import ATTRIBUTION_SECONDS, HEALTH_SECONDS
from demo.visitors import NORMAL, Mood

FAULTS = f"{MODEL}:error=0.3"
_CAMPAIGN_SHARE, _CLICK_SHARE = 0.6, 0.2
_PATIENCE_SECONDS = 180.0
_ALARM_PATIENCE_SECONDS = 45 * 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """A part of the story."""

    title: str
    tells: str
    look: Sequence[str]
    mood: Mood = NORMAL
    faults: str = ""
    """With which the service runs; it is restarted where they change."""
    released: bool = False
    """Whether models are trained again and released in the course of it."""
    seconds: float
    """How long it takes at least, so that it can be read and looked at."""
    patience_seconds: float = _PATIENCE_SECONDS
    """How long to wait for signs before going on without them."""
    signs: Sequence[Sign]


def story(places: Places, *, until_alarm: bool) -> Sequence[Chapter]:
    """Give all chapters.

    Args:
        places: Addresses to name.
        until_alarm: Whether to stay with missing clicks until the test of calibration is sure.
    """
    page, drift = f"{places.service}/#model={MODEL}", f"{places.service}{Source.DRIFT.value}"
    alerts = [] if places.prometheus is None else [f"{places.prometheus}/alerts"]
    return (
        Chapter(
            title="Normal traffic",
            tells="Visitors come, ads are scored, and the clicks on them are sent back.",
            look=[page, f"{places.service}/docs", f"{places.service}{Source.STATS.value}"],
            seconds=40,
            signs=[
                Sign("drift", Source.DRIFT, no_drift),
                Sign("health", Source.HEALTH, healthy),
                Sign(
                    "MLflow",
                    Source.MLFLOW_RUN,
                    in_mlflow("requests_in_window", "requests in a window", at_least=1),
                ),
            ],
        ),
        Chapter(
            title="A new ad campaign shifts the predictions",
            tells=f"A campaign buys {_CAMPAIGN_SHARE:.0%} of all impressions, in the places that "
            "are clicked most. The model is not wrong: it is asked something else.",
            look=[page, drift, *alerts],
            mood=Mood(campaign_share=_CAMPAIGN_SHARE),
            seconds=45,
            signs=[
                Sign("drift", Source.DRIFT, drifted),
                Sign("health", Source.HEALTH, not_healthy("warning")),
                Sign("features", Source.DRIFT, features_drifted, needed=False),
                Sign("MLflow", Source.MLFLOW_RUN, in_mlflow("drift_detected", "drift", at_least=1)),
            ],
        ),
        Chapter(
            title="Clicks decay, so calibration is off",
            tells=f"The campaign goes on, but only {_CLICK_SHARE:.0%} of the usual clicks come. "
            f"Predictions are judged a minute at a time, {ATTRIBUTION_SECONDS} s later, when no "
            "click can come any more: give it a minute or two. The alarm, calibration shift, takes "
            "a quarter of an hour at least, by design; "
            + ("this demo waits for it." if until_alarm else "--until-alarm waits for it."),
            look=[page, f"{places.service}{Source.QUALITY.value}", drift],
            mood=Mood(campaign_share=_CAMPAIGN_SHARE, click_share=_CLICK_SHARE),
            seconds=60,
            patience_seconds=_ALARM_PATIENCE_SECONDS if until_alarm else _PATIENCE_SECONDS,
            signs=[
                Sign("calibration", Source.QUALITY, clicks_missing),
                Sign("evidence", Source.DRIFT, calibration_evidence, needed=False),
                Sign("alarm", Source.DRIFT, calibration_alarm, needed=until_alarm),
            ],
        ),
        Chapter(
            title="Errors burst",
            tells="The campaign is over and clicks come again, but now the service is restarted "
            f"with CTR_FAULTS={FAULTS}: 30 % of the model's requests fail, on purpose. What was "
            "counted before is there again.",
            look=[page, f"{places.service}{Source.HEALTH.value}", *alerts],
            faults=FAULTS,
            # An alert fires when a minute of it was seen.
            seconds=60 if places.prometheus is None else 85,
            signs=[
                Sign("health", Source.HEALTH, not_healthy("degraded")),
                Sign("rehearsal", Source.HEALTH, rehearsed, needed=False),
                Sign(
                    "MLflow",
                    Source.MLFLOW_RUN,
                    in_mlflow("error_rate", "error rate in percent", at_least=5),
                ),
            ],
        ),
        Chapter(
            title="Errors end",
            tells="The service is restarted without faults. Errors leave the window of "
            f"{HEALTH_SECONDS} s that health looks at, and nobody has to do anything.",
            look=[page, f"{places.service}{Source.HEALTH.value}"],
            seconds=35,
            signs=[
                Sign("errors", Source.HEALTH, errors_over),
                Sign("calibration", Source.QUALITY, clicks_back, needed=False),
            ],
        ),
        Chapter(
            title="A new version, and everything is well",
            tells="An alarm of drift clears by itself after 15 quiet minutes. A new version is "
            "judged afresh: models are trained again and released with POST /models/reload, while "
            "requests go on.",
            look=[page, drift, f"{places.service}{Source.HISTORY.value}"],
            released=True,
            seconds=45,
            signs=[
                Sign("drift", Source.DRIFT, no_drift),
                Sign("health", Source.HEALTH, healthy),
                Sign(
                    "MLflow",
                    Source.MLFLOW_RUN,
                    in_mlflow("health_status", "health of the new version", at_most=0),
                ),
            ],
        ),
    )
