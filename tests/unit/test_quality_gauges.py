"""Gauges of quality are the numbers of the answer, and absent while those do not suffice."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from benchmarks.cohorts import cohort_of
from service.monitoring.counts import ModelVersion
from service.monitoring.quality.measures import Quality
from service.telemetry.folder import MetricsFolder
from service.telemetry.judgements import JudgementGauges
from service.telemetry.registry import registry_of

MODEL = ModelVersion("m", "1")
COUNTS = {
    "ctr_quality_predictions",
    "ctr_quality_clicks",
    "ctr_quality_window_end_timestamp_seconds",
}


@pytest.fixture
def folder(tmp_path: Path) -> MetricsFolder:
    return MetricsFolder.begin(tmp_path, 1000.0)


def quality(predictions: int, clicks: int) -> Quality:
    """Every prediction is 0.1 or 0.3; the clicks are on the first of them."""
    scores = np.where(np.arange(predictions) % 2, 0.1, 0.3)
    return Quality.of(
        cohort_of(scores, np.arange(predictions) < clicks, end=7200.0), min_predictions=100
    )


def shown(folder: MetricsFolder) -> Mapping[str, float]:
    """Values by name and by what the labels say besides the model."""
    return {
        " ".join([s.name, *(v for k, v in s.labels.items() if k not in {"model", "version"})]): (
            s.value
        )
        for family in registry_of(folder).collect()
        for s in family.samples
        if s.name.startswith("ctr_quality")
    }


def test_enough_data_show_every_number(folder: MetricsFolder) -> None:
    files = folder.join()
    judged = quality(200, 40)

    JudgementGauges(files).show_quality(MODEL, judged)
    files.flush()

    found = shown(folder)
    assert found["ctr_quality_predictions"] == 200
    assert found["ctr_quality_window_end_timestamp_seconds"] == 7200
    assert found["ctr_quality_ctr_ratio"] == 0.2
    assert found["ctr_quality_calibration_ratio"] == pytest.approx(1.0)
    assert found["ctr_quality_auc"] == 0.5
    assert judged.ctr_interval is not None
    assert found["ctr_quality_interval_low ctr"] == judged.ctr_interval.low
    assert found["ctr_quality_interval_high ctr"] == judged.ctr_interval.high
    buckets = [name for name in found if name.startswith("ctr_quality_bucket_ctr_ratio")]
    assert [found[name] for name in buckets] == [0.2, 0.2]
    files.close()


def test_what_is_known_no_more_is_absent_again(folder: MetricsFolder) -> None:
    files = folder.join()
    gauges = JudgementGauges(files)
    gauges.show_quality(MODEL, quality(200, 40))
    files.flush()

    gauges.show_quality(MODEL, quality(200, 5))
    files.flush()

    assert shown(folder).keys() == COUNTS
    assert shown(folder)["ctr_quality_clicks"] == 5

    gauges.show_quality(MODEL, quality(200, 30))
    files.flush()
    assert shown(folder)["ctr_quality_ctr_ratio"] == 0.15
    files.close()


def test_the_judgement_of_the_worker_that_spoke_last_counts_also_where_it_knows_less(
    folder: MetricsFolder,
) -> None:
    first, second = folder.join(), folder.join()
    knowing, later = JudgementGauges(first), JudgementGauges(second)
    later.show_quality(MODEL, quality(200, 40))
    second.flush()
    knowing.show_quality(MODEL, quality(200, 40))
    first.flush()

    later.show_quality(MODEL, quality(200, 5))
    second.flush()

    assert shown(folder).keys() == COUNTS
    first.close()
    second.close()


def test_a_worker_that_takes_over_hides_what_its_predecessor_showed(folder: MetricsFolder) -> None:
    first = folder.join()
    JudgementGauges(first).show_quality(MODEL, quality(200, 40))
    first.close()
    second = folder.join()

    JudgementGauges(second).show_quality(MODEL, quality(200, 5))
    second.flush()

    assert shown(folder).keys() == COUNTS
    second.close()
