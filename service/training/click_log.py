"""Impressions in columns: what models score, and with their outcome are trained and judged on."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from service.prediction.ad_request import AdRequest


class TrainingError(Exception):
    """Training cannot be done as asked; the message names the cause and the fix."""


class LogError(TrainingError):
    """A log cannot be used; the message names the file and the fix."""


@dataclass(frozen=True, slots=True, eq=False)
class IdColumn:
    """Strings that repeat, each kept once."""

    codes: NDArray[np.int64]
    """Position in ``values`` for each row, shape ``(n,)``."""
    values: Sequence[str]

    def __getitem__(self, rows: slice) -> Self:
        return type(self)(self.codes[rows], self.values)

    def to_list(self) -> list[str]:
        """Spell the strings out, one for each row."""
        return [self.values[code] for code in self.codes]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Impressions:
    """Ads that were shown, whether or not it is known who clicked."""

    user_id: IdColumn
    ad_id: IdColumn
    device: IdColumn
    placement: IdColumn
    hour: NDArray[np.int64]
    """0 to 23, shape ``(n,)``."""
    day_of_week: NDArray[np.int64]
    """0 is Monday, shape ``(n,)``."""
    timestamp: NDArray[np.datetime64] | None = None
    """UTC."""

    def __len__(self) -> int:
        return len(self.hour)

    def __getitem__(self, rows: slice) -> Self:
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{k: v[rows] for k, v in columns.items() if v is not None})

    @property
    def utc_hour(self) -> NDArray[np.int64]:
        """Hour of day by the timestamp, or by the column ``hour`` where there is none."""
        if self.timestamp is None:
            return self.hour
        return self.timestamp.astype("datetime64[h]").astype(np.int64) % 24

    def requests(self) -> list[AdRequest]:
        """What the service would have been asked, one request for each row."""
        return list(
            map(
                AdRequest,
                self.user_id.to_list(),
                self.ad_id.to_list(),
                self.device.to_list(),
                self.placement.to_list(),
                self.hour.tolist(),
                self.day_of_week.tolist(),
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClickLog(Impressions):
    """Impressions and their outcome.

    What :func:`service.training.log_files.read_click_log` gives is in order of time where the
    log has timestamps, else in the order of the files.
    """

    click: NDArray[np.bool_]

    @property
    def ctr(self) -> float:
        """Share of impressions that were clicked; the log must not be empty."""
        return float(self.click.mean())


def split_by_time(log: ClickLog, *, later_share: float) -> tuple[ClickLog, ClickLog]:
    """Cut a log into its earlier and its later rows.

    Args:
        log: At least two rows.
        later_share: Share of rows in the later part, between 0 and 1.

    Raises:
        TrainingError: A part would be without rows, or without both clicks and non-clicks.
    """
    cut = round(len(log) * (1 - later_share))
    earlier, later = log[:cut], log[cut:]
    for name, part in (("first", earlier), ("last", later)):
        if not 0 < part.click.sum() < len(part):
            raise TrainingError(
                f"the {name} {len(part)} rows of the log hold {part.click.sum()} clicks; "
                "both clicks and non-clicks are needed there: use a longer log"
            )
    return earlier, later
