"""Gauges of the A/B test are the numbers of the answer, and end with the experiment."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.experiment_worlds import World, arms_of, course
from service.monitoring.cells import CELLS
from service.monitoring.experiment.report import ExperimentReport, report
from service.telemetry.folder import MetricsFolder
from service.telemetry.judgements import JudgementGauges
from service.telemetry.registry import registry_of

WORLD = World(tail=3.0, users=50_000, impressions=100_000, ctr=0.05, lift=0.3)
ARMS = list(course(np.random.default_rng(1), WORLD, 1))[-1]


@pytest.fixture
def folder(tmp_path: Path) -> MetricsFolder:
    return MetricsFolder.begin(tmp_path, 1000.0)


def shown(folder: MetricsFolder) -> Mapping[str, float]:
    """Values by name and labels."""
    return {
        " ".join([sample.name.removeprefix("ctr_experiment_"), *sample.labels.values()]): (
            sample.value
        )
        for family in registry_of(folder).collect()
        for sample in family.samples
        if sample.name.startswith("ctr_experiment")
    }


def show(folder: MetricsFolder, *reports: ExperimentReport) -> Mapping[str, float]:
    files = folder.join()
    gauges = JudgementGauges(files)
    for said in reports:
        gauges.show_experiment(said)
        files.flush()
    files.close()
    return shown(folder)


def test_every_number_is_shown_as_it_is_answered(folder: MetricsFolder) -> None:
    said = report("x", ARMS, key="x.1")
    [comparison] = said.comparisons
    assert comparison.interval is not None

    found = show(folder, said)

    assert found["click_through_ratio x.1 a 1"] == said.variants[0].ctr
    assert found["click_through_ratio x.1 b 1"] == said.variants[1].ctr
    assert found["difference_ratio x.1 b 1"] == comparison.difference
    assert found["difference_lower_ratio x.1 b 1"] == comparison.interval.low
    assert found["difference_upper_ratio x.1 b 1"] == comparison.interval.high
    assert found["log_evidence x.1 b 1"] == comparison.evidence
    assert found["verdict x.1 b better 1"] == 1
    assert found["verdict x.1 b undecided 1"] == 0
    assert found["sample_ratio_mismatch x.1"] == 0
    assert said.sample_ratio is not None
    assert found["sample_ratio_log_evidence x.1"] == said.sample_ratio.evidence


def test_what_is_not_known_is_absent_also_again(folder: MetricsFolder) -> None:
    known = report("x", ARMS, key="x.1")
    nothing = np.zeros((2, CELLS))

    found = show(folder, known, report("x", arms_of((1.0, 1.0), nothing, nothing), key="x.1"))

    assert found.keys() == {
        *(f"verdict x.1 b {verdict} 1" for verdict in ("undecided", "better", "worse")),
        "verdict x.1 b equivalent 1",
        "sample_ratio_mismatch x.1",
    }
    assert found["verdict x.1 b undecided 1"] == 1


def test_a_mismatch_ends_with_its_experiment(folder: MetricsFolder) -> None:
    lost = replace(WORLD, lost=0.4)
    mismatch = report("x", list(course(np.random.default_rng(1), lost, 1))[-1], key="x.1")

    assert show(folder, mismatch)["sample_ratio_mismatch x.1"] == 1

    found = show(folder, mismatch, report("x", ARMS, key="x.2"))
    assert not any("x.1" in name for name in found)
    assert found["sample_ratio_mismatch x.2"] == 0


def test_where_nothing_is_compared_any_more_nothing_is_shown(folder: MetricsFolder) -> None:
    assert show(folder, report("x", ARMS, key="x.1"), report("x", ARMS[:1], key="x.3")) == {}
