"""What an experiment says, as gauges."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from service.monitoring import catalogue
from service.monitoring.experiment.comparison import Comparison, Verdict
from service.monitoring.experiment.report import ExperimentReport
from service.telemetry.series import ABSENT


class GaugeValue(NamedTuple):
    """One series with its value."""

    metric: catalogue.Metric
    labels: Mapping[str, str]
    value: float
    """``ABSENT`` where it is not known, or no more."""

    @property
    def identity(self) -> tuple[str, tuple[str, ...]]:
        """What tells it from every other series."""
        return self.metric.name, tuple(self.labels.values())


def gauges_of(report: ExperimentReport) -> Iterator[GaugeValue]:
    """List the gauges of an experiment; none where nothing is compared."""
    by_model = {
        variant.arm.model_name: {
            "model": variant.arm.model_name,
            "version": variant.arm.model.version,
            "experiment": report.key,
        }
        for variant in report.variants
    }
    for variant in report.variants:
        labels = by_model[variant.arm.model_name]
        yield GaugeValue(catalogue.EXPERIMENT_CTR, labels, _known(variant.ctr))
    for one in report.comparisons:
        yield from _of_comparison(one, by_model[one.challenger])
    ratio = report.sample_ratio
    if ratio is not None:
        labels = {"experiment": report.key}
        yield GaugeValue(catalogue.EXPERIMENT_MISMATCH, labels, float(ratio.mismatch))
        evidence = _known(ratio.evidence)
        yield GaugeValue(catalogue.EXPERIMENT_MISMATCH_LOG_EVIDENCE, labels, evidence)


def _of_comparison(one: Comparison, labels: Mapping[str, str]) -> Iterator[GaugeValue]:
    low, high = one.interval or (ABSENT, ABSENT)
    yield GaugeValue(catalogue.EXPERIMENT_DIFFERENCE, labels, _known(one.difference))
    yield GaugeValue(catalogue.EXPERIMENT_DIFFERENCE_LOWER, labels, low)
    yield GaugeValue(catalogue.EXPERIMENT_DIFFERENCE_UPPER, labels, high)
    yield GaugeValue(catalogue.EXPERIMENT_LOG_EVIDENCE, labels, _known(one.evidence))
    for verdict in Verdict:
        holds = float(one.verdict is verdict)
        yield GaugeValue(catalogue.EXPERIMENT_VERDICT, {**labels, "verdict": verdict.value}, holds)


def _known(value: float | None) -> float:
    return ABSENT if value is None else value
