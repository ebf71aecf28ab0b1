"""Who visits, what is shown to them, and how probably they click: the law of the simulated log."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from service.training.simulation import log_odds_of_time, simulate

ROWS, SEED = 120_000, 0
"""Of the simulated log that the models are trained on: visitors are the people in it."""
_HOURS = range(24)
_ROWS_PER_HOUR = 1000


class Impression(NamedTuple):
    """An ad that is about to be shown."""

    request: dict[str, str | int]
    """Body of a prediction request."""
    click_probability: float


@dataclass(frozen=True, slots=True, eq=False)
class Audience:
    """Impressions to draw from; arrays have one entry each."""

    columns: tuple[Sequence[str], ...]
    """User, ad, device and placement."""
    log_odds: NDArray[np.float64]
    """Of a click, without what the time adds."""
    campaign: NDArray[np.int64]
    """Positions of the impressions that the new campaign buys."""

    @classmethod
    def of_simulation(cls) -> Self:
        """Take those of the log that the models learn from."""
        simulation = simulate(ROWS, seed=SEED)
        log = simulation.log
        odds = simulation.probabilities / (1 - simulation.probabilities)
        log_odds = np.log(odds) - log_odds_of_time(log.hour, log.day_of_week)
        columns = tuple(
            column.to_list() for column in (log.user_id, log.ad_id, log.device, log.placement)
        )
        return cls(columns, log_odds, _best_places(columns, log_odds))

    def draw(
        self, rng: np.random.Generator, count: int, *, campaign_share: float, at: datetime
    ) -> Iterator[Impression]:
        """Draw impressions.

        Args:
            rng: The dice.
            count: How many.
            campaign_share: Share that the new campaign buys, 0 to 1.
            at: The time at which they are shown, UTC; hour and day of the week follow it.
        """
        anyone = rng.integers(0, len(self.log_odds), count)
        bought = rng.choice(self.campaign, count)
        chosen = np.where(rng.random(count) < campaign_share, bought, anyone)
        of_time = float(log_odds_of_time(np.array(at.hour), np.array(at.weekday())))
        for row in chosen.tolist():
            user, ad, device, placement = (column[row] for column in self.columns)
            yield Impression(
                {
                    "user_id": user,
                    "ad_id": ad,
                    "device": device,
                    "placement": placement,
                    "hour": at.hour,
                    "day_of_week": at.weekday(),
                },
                1 / (1 + float(np.exp(-self.log_odds[row] - of_time))),
            )

    def write_normal_day(self, file: Path, *, now: datetime) -> None:
        """Write a log of the same weekday a week ago, as training and scoring read it."""
        rng = np.random.default_rng(SEED)
        day = (now - timedelta(days=7)).date()
        with file.open("w", newline="", encoding="utf-8") as handle:
            writer: csv.DictWriter[str] | None = None
            for hour in _HOURS:
                at = datetime.combine(day, time(hour, 30), tzinfo=UTC)
                for shown in self.draw(rng, _ROWS_PER_HOUR, campaign_share=0.0, at=at):
                    row = shown.request | {"timestamp": at.strftime("%Y-%m-%dT%H:%M:%S")}
                    if writer is None:
                        writer = csv.DictWriter(handle, list(row))
                        writer.writeheader()
                    writer.writerow(row)


def _best_places(
    columns: Sequence[Sequence[str]], log_odds: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Find the mobile impressions at the top of a page, of the campaign that is clicked most."""
    _, ads, devices, placements = columns
    campaigns, codes = np.unique([ad.partition("-")[0] for ad in ads], return_inverse=True)
    mean = np.bincount(codes, 1 / (1 + np.exp(-log_odds))) / np.bincount(codes)
    best = codes == int(np.argmax(mean[: len(campaigns)]))
    top = np.array([placement.endswith(":top") for placement in placements])
    mobile = np.array([device == "mobile" for device in devices])
    return np.flatnonzero(best & top & mobile)
