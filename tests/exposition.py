"""Reading `/metrics` with the client library's own parser."""

import math

import httpx
from prometheus_client.parser import text_string_to_metric_families

_JUDGED = (
    "ctr_health",
    "ctr_baseline",
    "ctr_bridge",
    "ctr_drift",
    "ctr_experiment",
    "ctr_feature_drift",
    "ctr_feature_psi",
    "ctr_feature_unseen",
    "ctr_quality",
    "ctr_snapshot_stored",
)


def samples(client: httpx.Client) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Everything that /metrics shows, read by the client library's own parser."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def counted(client: httpx.Client) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """What requests change; what the ticker shows comes and goes with the clock."""
    return {key: value for key, value in samples(client).items() if not key[0].startswith(_JUDGED)}


def total(client: httpx.Client, name: str, *, missing: float | None = None, **labels: str) -> float:
    """Sum of the series of ``name`` that carry ``labels``; ``missing`` where there is none."""
    found = [
        value
        for (sample, its_labels), value in samples(client).items()
        if sample == name and labels.items() <= dict(its_labels).items()
    ]
    if not found and missing is not None:
        return missing
    assert found, f"there is no series {name} with {labels}"
    return math.fsum(found)
