"""Slots are aligned to the epoch and cut days at UTC midnight."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.windows import SECONDS_PER_DAY, Slot, slot_at, slots_between, slots_of_day

LENGTHS = st.sampled_from([5, 15, 60, 300, 900, 3600])
MIDNIGHT = 1_772_323_200
"""2026-03-01T00:00:00Z."""


def test_a_slot_knows_its_place_in_a_utc_day() -> None:
    slot = slot_at(MIDNIGHT + 3600 + 17.5, 300)

    assert slot == Slot(number=5_907_756, seconds=300)
    assert (slot.start, slot.end) == (MIDNIGHT + 3600, MIDNIGHT + 3900)
    assert (slot.day, slot.day_start, slot.place_in_day) == ("2026-03-01", MIDNIGHT, 12)
    assert not slot.ends_day


def test_the_last_slot_of_a_day_still_belongs_to_it() -> None:
    last = slot_at(MIDNIGHT - 0.001, 300)

    assert (last.day, last.place_in_day, last.ends_day) == ("2026-02-28", 287, True)
    assert last.end == MIDNIGHT
    assert slot_at(MIDNIGHT, 300).day == "2026-03-01"


@pytest.mark.parametrize(
    ("start", "end", "numbers"),
    [
        (600.0, 1200.0, [2, 3]),
        (600.1, 1200.0, [3]),
        (599.9, 1199.9, [2]),
        (600.0, 899.9, []),
        (900.0, 600.0, []),
    ],
)
def test_between_two_times_lie_only_whole_slots(
    start: float, end: float, numbers: list[int]
) -> None:
    assert [slot.number for slot in slots_between(start, end, 300)] == numbers


def test_a_day_has_its_whole_number_of_slots() -> None:
    slots = slots_of_day(MIDNIGHT, 300)

    assert len(slots) == 288
    assert (slots[0].start, slots[-1].end) == (MIDNIGHT, MIDNIGHT + SECONDS_PER_DAY)
    assert {slot.day for slot in slots} == {"2026-03-01"}
    assert [slot.place_in_day for slot in slots] == list(range(288))


@given(LENGTHS, st.floats(0, 4e9))
def test_every_time_lies_in_exactly_one_slot(seconds: int, at: float) -> None:
    slot = slot_at(at, seconds)

    assert slot.start <= at < slot.end
    assert slot.day_start <= slot.start < slot.day_start + SECONDS_PER_DAY
    assert slot.end <= slot.day_start + SECONDS_PER_DAY
