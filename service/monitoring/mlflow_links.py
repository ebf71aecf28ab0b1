"""Addresses in MLflow's pages that show what they promise.

Without ``workflowType`` MLflow 3 opens an experiment in its view for language models, which shows
no runs.
"""

import json
from collections.abc import Sequence
from urllib.parse import quote


def experiment_link(ui_url: str, experiment_id: str) -> str:
    """The list of an experiment's runs."""
    return f"{ui_url}/#/experiments/{experiment_id}?workflowType=machine_learning"


def charts_link(ui_url: str, experiment_id: str) -> str:
    """Charts of the daily runs, one line a run."""
    wanted = quote("tags.`ctr.kind` = 'monitoring'")
    return (
        f"{ui_url}/#/experiments/{experiment_id}/runs"
        f"?workflowType=machine_learning&compareRunsMode=CHART&searchFilter={wanted}"
    )


def run_link(ui_url: str, experiment_id: str, run_id: str) -> str:
    """One run."""
    return f"{ui_url}/#/experiments/{experiment_id}/runs/{run_id}"


def compare_link(ui_url: str, experiment_id: str, run_ids: Sequence[str]) -> str:
    """Several runs beside each other."""
    runs, experiments = (quote(json.dumps(list(ids))) for ids in (run_ids, [experiment_id]))
    return f"{ui_url}/#/compare-runs?runs={runs}&experiments={experiments}"
