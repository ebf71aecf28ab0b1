"""The built-in simulated click log, for trying the service without a log of one's own.

The law, with every draw from one seeded generator:

- Time: 14 days from Monday 2026-01-05, uniform over days; within a day the rate follows
  ``1 + 0.6 cos(2 pi (hour - 20) / 24)``, busiest at 20h.
- Users: the user of rank r appears in proportion to r^-0.8; ads: r^-0.9, out of 400, ten to a
  campaign; users: one for every four rows. Placements: 12 publishers of weight r^-1, each with the
  slots ``top``, ``side`` and ``bottom``. Devices: mobile 60 %, desktop 32 %, tablet 8 %.
- Log-odds of a click: intercept + user N(0, 0.5) + campaign N(0, 0.4) + ad N(0, 0.4)
  + publisher N(0, 0.4) + slot (0.4, 0, -0.6) + device (0.15, -0.2, 0) + publisher and campaign
  together N(0, 0.3) + 0.3 cos(2 pi (hour - 20) / 24) + 0.15 at the weekend.
- The intercept makes the mean click probability 2.3 %, and each row is an independent draw.

Nothing drifts, so a good model stays good: what drifts in production shows against this.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.monitoring.buckets import HOURS_PER_DAY
from service.training.click_log import ClickLog, IdColumn

BASE_CTR = 0.023
DAYS = 14

_START = np.datetime64("2026-01-05T00:00:00", "us")
_ROWS_PER_USER = 4
_CAMPAIGNS, _ADS_PER_CAMPAIGN = 40, 10
_PUBLISHERS = 12
_SLOTS, _SLOT_EFFECTS = ("top", "side", "bottom"), np.array([0.4, 0.0, -0.6])
_DEVICES, _DEVICE_SHARES = ("mobile", "desktop", "tablet"), np.array([0.60, 0.32, 0.08])
_DEVICE_EFFECTS = np.array([0.15, -0.2, 0.0])
_BUSIEST_HOUR = 20
_SATURDAY = 5


@dataclass(frozen=True, slots=True, eq=False)
class Simulation:
    """A log together with what only a simulation knows."""

    log: ClickLog
    probabilities: NDArray[np.float64]
    """The true click probability of each row, shape ``(n,)``."""


def simulate(rows: int, *, seed: int) -> Simulation:
    """Draw a click log of ``rows`` impressions by the law above; equal seeds give equal logs."""
    rng = np.random.default_rng(seed)
    day, hour, timestamp = _times(rng, rows, 1 + 0.6 * _daily_wave(np.arange(HOURS_PER_DAY)))
    users = max(rows // _ROWS_PER_USER, 1)
    user = _power_law(rng, users, 0.8, rows)
    ad = _power_law(rng, _CAMPAIGNS * _ADS_PER_CAMPAIGN, 0.9, rows)
    # Popularity must not decide the campaign, or campaigns would differ by volume alone.
    campaign_of_ad = rng.permutation(np.repeat(np.arange(_CAMPAIGNS), _ADS_PER_CAMPAIGN))
    campaign = campaign_of_ad[ad]
    publisher = _power_law(rng, _PUBLISHERS, 1.0, rows)
    slot = rng.integers(0, len(_SLOTS), rows)
    device = rng.choice(len(_DEVICES), rows, p=_DEVICE_SHARES)
    day_of_week = day % 7
    log_odds = (
        rng.normal(0, 0.5, users)[user]
        + rng.normal(0, 0.4, _CAMPAIGNS)[campaign]
        + rng.normal(0, 0.4, _CAMPAIGNS * _ADS_PER_CAMPAIGN)[ad]
        + rng.normal(0, 0.4, _PUBLISHERS)[publisher]
        + _SLOT_EFFECTS[slot]
        + _DEVICE_EFFECTS[device]
        + rng.normal(0, 0.3, (_PUBLISHERS, _CAMPAIGNS))[publisher, campaign]
        + log_odds_of_time(hour, day_of_week)
    )
    probabilities = _with_mean(log_odds, BASE_CTR)
    log = ClickLog(
        user_id=IdColumn(user, [f"u{i:07d}" for i in range(users)]),
        ad_id=IdColumn(ad, _ad_ids(campaign_of_ad)),
        device=IdColumn(device, _DEVICES),
        placement=IdColumn(
            publisher * len(_SLOTS) + slot,
            [f"site{i}:{name}" for i in range(_PUBLISHERS) for name in _SLOTS],
        ),
        hour=hour,
        day_of_week=day_of_week,
        click=rng.random(rows) < probabilities,
        timestamp=timestamp,
    )
    return Simulation(log, probabilities)


def log_odds_of_time(
    hour: NDArray[np.int64], day_of_week: NDArray[np.int64]
) -> NDArray[np.float64]:
    """What hour (0 to 23) and day of the week (0 is Monday) add to the log-odds of a click."""
    return 0.3 * _daily_wave(hour) + 0.15 * (day_of_week >= _SATURDAY)


def _daily_wave(hour: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(np.cos(2 * np.pi * (hour - _BUSIEST_HOUR) / HOURS_PER_DAY))


def _times(
    rng: np.random.Generator, rows: int, hourly_rates: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.datetime64]]:
    rates = np.tile(hourly_rates, DAYS)
    hour_of_log = np.sort(rng.choice(len(rates), rows, p=rates / rates.sum()))
    seconds = np.sort(hour_of_log * 3600 + rng.integers(0, 3600, rows))
    timestamp = _START + seconds.astype("timedelta64[s]")
    return *np.divmod(hour_of_log, HOURS_PER_DAY), timestamp


def _power_law(
    rng: np.random.Generator, size: int, exponent: float, rows: int
) -> NDArray[np.int64]:
    weights = np.arange(1, size + 1) ** -exponent
    return rng.choice(size, rows, p=weights / weights.sum())


def _ad_ids(campaign_of_ad: NDArray[np.int64]) -> list[str]:
    """Name ads after their campaign, as the ids of real logs often do."""
    return [f"c{campaign:03d}-{ad:03d}" for ad, campaign in enumerate(campaign_of_ad)]


def _with_mean(log_odds: NDArray[np.float64], mean: float) -> NDArray[np.float64]:
    """Turn log-odds into probabilities, shifted so that they average ``mean``."""
    low, high = -30.0, 30.0
    for _ in range(60):
        middle = (low + high) / 2
        if (1 / (1 + np.exp(-(log_odds + middle)))).mean() < mean:
            low = middle
        else:
            high = middle
    return np.asarray(1 / (1 + np.exp(-(log_odds + low))))
