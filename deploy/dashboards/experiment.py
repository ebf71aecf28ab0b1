"""Panels about what the A/B test concludes."""

from dataclasses import replace

from deploy.dashboards.frame import Section
from deploy.dashboards.links import Runbook
from deploy.dashboards.panels import ALARM, CALM, HEIGHT, Query, graph, number, timeline
from deploy.dashboards.selection import Selection
from service.monitoring import catalogue

_NOTHING_COMPLETE = "No complete clicks yet"
_VERDICTS = {0: ("no", "transparent"), 1: ("yes", "blue")}
_MISMATCHES = {0: ("as the weights promise", CALM), 1: ("mismatch", ALARM)}


def experiment(models: Selection) -> Section:
    """Show what the service says of the experiment; nothing is computed here."""
    whole = replace(models, by="")
    return Section(
        "The experiment",
        [
            graph(
                "Difference of click-through rates",
                "Of each challenger from the baseline, among users whom the experiment assigned. "
                "The dashed lines are what has not been rejected: they hold at every look. Clicks "
                "that may still come in are not in it.",
                "percentunit",
                Query(models.served(catalogue.EXPERIMENT_DIFFERENCE), "{{model}}"),
                Query(
                    models.served(catalogue.EXPERIMENT_DIFFERENCE_LOWER),
                    "{{model}}, at least",
                    draws="reference",
                ),
                Query(
                    models.served(catalogue.EXPERIMENT_DIFFERENCE_UPPER),
                    "{{model}}, at most",
                    draws="reference",
                ),
                width=12,
                from_zero=False,
                no_value=_NOTHING_COMPLETE,
            ),
            graph(
                "Evidence of the experiment",
                "Logarithm of the evidence that a challenger differs from the baseline: 3.0 "
                "decides between two variants. That the users are not those of the weights: 5.3.",
                "short",
                Query(models.served(catalogue.EXPERIMENT_LOG_EVIDENCE), "{{model}} differs"),
                Query(
                    whole.greatest(catalogue.EXPERIMENT_MISMATCH_LOG_EVIDENCE, "experiment"),
                    "users of {{experiment}}",
                ),
                width=12,
                no_value=_NOTHING_COMPLETE,
            ),
            number(
                "Click-through rate of the variants",
                "Clicks per prediction since the experiment began, among users whom it assigned.",
                "percentunit",
                Query(models.served(catalogue.EXPERIMENT_CTR), "{{model}}"),
                width=8,
                height=HEIGHT,
                decimals=3,
                no_value=_NOTHING_COMPLETE,
            ),
            timeline(
                "Verdict",
                "What is known of each challenger: undecided until the evidence is there.",
                Query(
                    models.served(catalogue.EXPERIMENT_VERDICT, "verdict"), "{{model}} {{verdict}}"
                ),
                states=_VERDICTS,
            ),
            timeline(
                "Users of the variants",
                "Whether the variants get the users that their weights promise. While they do not, "
                "no verdict is given.",
                Query(
                    whole.greatest(catalogue.EXPERIMENT_MISMATCH, "experiment"), "{{experiment}}"
                ),
                states=_MISMATCHES,
                runbook=Runbook.MISMATCH,
            ),
        ],
    )
