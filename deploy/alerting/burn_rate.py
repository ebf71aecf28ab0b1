"""Alerts on how fast a model's error budget burns, over several pairs of windows.

Ratios are recorded per model, summed over versions and replicas: a ratio of sums is what users
saw. Without traffic a ratio is NaN, which is above nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from deploy.alerting.durations import duration, number
from deploy.alerting.pace import BurnWindow, Pace
from deploy.alerting.rules import Alert, Group, Record, Severity
from deploy.alerting.selectors import named, series
from service.monitoring.catalogue import REQUEST_DURATION, REQUESTS, Outcome
from service.monitoring.objectives import (
    ERROR_SLO,
    LATENCY_SLO,
    MIN_BAD_REQUESTS,
    SLO_PERIOD_DAYS,
    ServiceLevel,
)

_HOURS_PER_DAY = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Indicator:
    """How the bad requests of a service level are counted."""

    level: ServiceLevel
    alert: str
    metric: str
    """Middle of the recorded names."""
    bad: str
    """What a bad request is called in the recorded names."""
    happened: str
    """What happened to a bad request, as a sentence says it."""
    all_requests: str
    """Selector of the counter of all requests."""
    bad_requests: str = ""
    """Selector of the counter of bad requests; or, where there is none such,"""
    good_requests: str = ""
    """that of the good ones."""

    def ratio_name(self, seconds: int) -> str:
        """Recorded name of the share of bad requests over so many seconds."""
        return f"job_model:{self.metric}:{self.bad}_ratio_rate{duration(seconds)}"

    def count_name(self, seconds: int) -> str:
        """Recorded name of the number of bad requests over so many seconds."""
        return f"job_model:{self.metric}:{self.bad}_increase{duration(seconds)}"

    def ratio(self, seconds: int) -> Record:
        """Record the share of bad requests."""
        total = _sum("rate", self.all_requests, seconds)
        if self.bad_requests:
            expr = f"{_sum('rate', self.bad_requests, seconds)}\n/\n{total}"
        else:
            expr = f"1 -\n{_sum('rate', self.good_requests, seconds)}\n/\n{total}"
        return Record(record=self.ratio_name(seconds), expr=expr)

    def count(self, seconds: int) -> Record:
        """Record the number of bad requests."""
        if self.bad_requests:
            expr = _sum("increase", self.bad_requests, seconds)
        else:
            good = _sum("increase", self.good_requests, seconds)
            expr = f"{_sum('increase', self.all_requests, seconds)}\n-\n{good}"
        return Record(record=self.count_name(seconds), expr=expr)


def _sum(function: str, selector: str, seconds: int) -> str:
    return f"sum by (job, model) ({function}({selector}[{duration(seconds)}]))"


_BOUND_SECONDS = LATENCY_SLO.bound_seconds or 0.0

INDICATORS = (
    Indicator(
        level=ERROR_SLO,
        alert="CtrErrorBudgetBurn",
        metric="ctr_requests",
        bad="errors",
        happened="failed",
        all_requests=series(REQUESTS),
        bad_requests=series(REQUESTS, outcome=Outcome.ERROR),
    ),
    Indicator(
        level=LATENCY_SLO,
        alert="CtrLatencyBudgetBurn",
        metric="ctr_request_duration_seconds",
        bad="slow",
        happened=f"took more than {number(1000 * _BOUND_SECONDS)} ms",
        all_requests=named(f"{REQUEST_DURATION.name}_count"),
        good_requests=named(f"{REQUEST_DURATION.name}_bucket", le=number(_BOUND_SECONDS)),
    ),
)


def burn_groups(indicator: Indicator, pace: Pace) -> Sequence[Group]:
    """Give the rules of one service level: what pages, and what can wait."""
    return [
        _group(indicator, pace, Severity.PAGE, interval_seconds=None),
        _group(indicator, pace, Severity.TICKET, interval_seconds=pace.slow_evaluation_seconds),
    ]


def _group(
    indicator: Indicator, pace: Pace, severity: Severity, *, interval_seconds: int | None
) -> Group:
    windows = [window for window in pace.burn_windows if window.severity is severity]
    earlier = [window for window in pace.burn_windows if window.severity is not severity]
    spans = {span for window in windows for span in _spans(window)}
    if severity is Severity.TICKET:
        # Recorded already, for the pages.
        spans -= {span for window in earlier for span in _spans(window)}
    return Group(
        name=f"ctr_{indicator.level.name}_{severity}",
        interval_seconds=interval_seconds,
        rules=[
            *(indicator.ratio(span) for span in sorted(spans)),
            *(indicator.count(window.long_seconds) for window in windows),
            *(_alert(indicator, window) for window in windows),
        ],
    )


def _spans(window: BurnWindow) -> tuple[int, int]:
    return window.long_seconds, window.short_seconds


def _alert(indicator: Indicator, window: BurnWindow) -> Alert:
    limit = number(round(window.factor * indicator.level.budget, 9))
    long, factor = duration(window.long_seconds), number(window.factor)
    times = f"{factor} times that" if window.factor > 1 else "that"
    hours = SLO_PERIOD_DAYS * _HOURS_PER_DAY / window.factor
    return Alert(
        name=indicator.alert,
        severity=window.severity,
        hold_seconds=window.hold_seconds,
        labels={"slo": indicator.level.name, "window": long},
        expr=(
            f"{indicator.ratio_name(window.long_seconds)} > {limit}\n"
            f"and\n"
            f"{indicator.ratio_name(window.short_seconds)} > {limit}\n"
            f"and\n"
            f"{indicator.count_name(window.long_seconds)} >= {number(MIN_BAD_REQUESTS.limit)}"
        ),
        summary=f"Too many requests to {{{{ $labels.model }}}} {indicator.happened}",
        description=(
            f"{{{{ $value | humanizePercentage }}}} of the requests to {{{{ $labels.model }}}} "
            f"{indicator.happened} in the last {long}, and it goes on. "
            f"The objective allows {number(round(indicator.level.budget * 100, 9))} %; above "
            f"{times} the budget of {SLO_PERIOD_DAYS} days lasts less than {_lasts(hours)}."
        ),
    )


def _lasts(hours: float) -> str:
    days = hours / _HOURS_PER_DAY
    return f"{number(days)} days" if days.is_integer() else f"{number(hours)} hours"
