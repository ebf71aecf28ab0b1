"""A run's key says whose day it is, and nothing in it can break out of MLflow's search."""

import pytest

from bridge.runs import RunNaming, day_end_ms
from bridge.windows import Slot
from service.monitoring.tracking import Entry, EntryKind, Point, RunKind, TrackedRun

NAMING = RunNaming(
    source="instance:host1", window_seconds=300, experiment="summer", service_version="0.1.0"
)
EVENING = Slot(number=5_907_743, seconds=300)
"""The last of 2026-02-28 UTC."""


def test_a_day_run_is_named_by_model_version_arm_source_and_day() -> None:
    run = NAMING.of_day("xgboost", "20260228T101500", EVENING)

    assert run.key == "xgboost|20260228T101500|summer:xgboost|instance:host1|2026-02-28"
    assert run.name == "xgboost 2026-02-28 20260228T101500"
    assert run.kind is RunKind.MONITORING
    assert run.start_ms == 1_772_236_800_000
    assert day_end_ms(run) == 1_772_323_200_000
    assert run.tags == {
        "model_name": "xgboost",
        "model_version": "20260228T101500",
        "arm": "summer:xgboost",
        "source": "instance:host1",
        "ctr.day": "2026-02-28",
        "ctr.window": "300s",
        "ctr.kind": "monitoring",
        "service_version": "0.1.0",
        "ctr.release": "release|xgboost|20260228T101500",
    }


def test_samples_are_a_child_of_their_day() -> None:
    day = NAMING.of_day("xgboost", "1", EVENING)

    samples = NAMING.samples_of(day, EVENING)

    assert samples.key == f"{day.key}|samples"
    assert samples.parent_key == day.key
    assert (samples.kind, samples.tags["ctr.kind"]) == (RunKind.SAMPLES, "samples")
    assert samples.name == "xgboost 2026-02-28 1 samples"


@pytest.mark.parametrize(("model", "version"), [("logistic", "1"), ("xgboost", "2")])
def test_another_model_or_version_is_another_run(model: str, version: str) -> None:
    runs = {
        NAMING.of_day("xgboost", "1", EVENING).key,
        NAMING.of_day(model, version, EVENING).key,
        NAMING.of_day("xgboost", "1", Slot(number=EVENING.number + 1, seconds=300)).key,
    }

    assert len(runs) == 3


def test_quotes_and_separators_in_a_name_do_not_get_into_the_key() -> None:
    run = NAMING.of_day('it\'s|a `model` % "x"', "1", EVENING)

    assert run.key.startswith("it_s_a _model_ _ _x_|1|")
    assert run.model_name == run.tags["model_name"] == 'it\'s|a `model` % "x"'


def test_a_run_and_an_entry_come_back_from_json_as_they_were() -> None:
    run = NAMING.samples_of(NAMING.of_day("xgboost", "1", EVENING), EVENING)
    entry = Entry(
        run_key=run.key,
        kind=EntryKind.CLOSE,
        step=7,
        points=(Point("a", 0.1 + 0.2, 2**53 + 1, -1),),
        tags={"verdict": "ä"},
        end_ms=1,
    )

    assert TrackedRun.from_json(run.to_json()) == run
    assert Entry.from_json(entry.run_key, "close", 7, entry.to_json()) == entry


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"points": 1}', "null"])
def test_what_is_no_run_and_no_entry_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the messages differ
        TrackedRun.from_json(text)
    with pytest.raises(ValueError):  # noqa: PT011
        Entry.from_json("key", "close", 1, text)
