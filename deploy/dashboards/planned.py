"""Metrics of the next release, which panels already ask for and say so while there are none."""

from service.monitoring.catalogue import MODEL_LABELS, Metric

CLICKS = Metric(
    name="ctr_clicks_total",
    kind="counter",
    labels=MODEL_LABELS,
    unit="clicks",
    meaning="Clicks on predictions of the model, by time of arrival.",
)

PLANNED: tuple[Metric, ...] = (CLICKS,)
