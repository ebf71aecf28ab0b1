"""What the A/B test says of a model version, under the names that MLflow shows."""

from collections.abc import Mapping

from bridge.points import Numbers
from service.monitoring.counts import ModelVersion
from service.monitoring.experiment.comparison import Verdict
from service.monitoring.experiment.report import ExperimentReport

VERDICTS: Mapping[Verdict, float] = {
    Verdict.WORSE: -1.0,
    Verdict.UNDECIDED: 0.0,
    Verdict.BETTER: 1.0,
    Verdict.EQUIVALENT: 2.0,
}


def experiment_numbers(report: ExperimentReport, model: ModelVersion) -> Numbers:
    """Say in numbers what is known of a variant; what is not known is left out.

    The baseline has its own rate; a challenger has the difference from the baseline too.
    """
    found: dict[str, float | None] = {}
    for variant in report.variants:
        if variant.arm.model == model:
            low, high = variant.ctr_interval or (None, None)
            found |= {
                "experiment_predictions": variant.impressions,
                "experiment_clicks": variant.clicks,
                "experiment_ctr": variant.ctr,
                "experiment_ctr_low": low,
                "experiment_ctr_high": high,
            }
            for one in report.comparisons:
                if one.challenger == model.model:
                    low, high = one.interval or (None, None)
                    found |= {
                        "experiment_difference": one.difference,
                        "experiment_difference_low": low,
                        "experiment_difference_high": high,
                        "experiment_evidence": one.evidence,
                        "experiment_evidence_threshold": one.evidence_threshold,
                        "experiment_verdict": VERDICTS[one.verdict],
                    }
            if report.sample_ratio is not None:
                found |= {
                    "experiment_mismatch": float(report.sample_ratio.mismatch),
                    "experiment_mismatch_evidence": report.sample_ratio.evidence,
                }
    return {name: value for name, value in found.items() if value is not None}
