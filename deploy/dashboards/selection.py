"""The PromQL that panels are made of, with every metric taken from the catalogue."""

from dataclasses import dataclass
from typing import Literal

from service.monitoring.catalogue import MODEL_INFO, Metric

Part = Literal["", "_bucket", "_sum", "_count"]

RATE_INTERVAL = "$__rate_interval"
SHOWN_PERIOD = "$__range"
"""For figures about everything that the dashboard shows."""

_INSTANCE = "job, instance"
_VERSION = f"{_INSTANCE}, model, version"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which series a dashboard looks at, by which labels it tells them apart, over which span."""

    by: str = "model"
    """Labels that are kept, separated by commas."""
    versions: bool = False
    """Whether the dashboard has a variable for the version."""
    span: str = RATE_INTERVAL

    def series(self, metric: Metric, part: Part = "", **labels: str) -> str:
        """Select series; ``labels`` are matched exactly."""
        matchers = ['job=~"$job"', 'instance=~"$instance"']
        if "model" in metric.labels:
            matchers.append('model=~"$model"')
        if self.versions and "version" in metric.labels:
            matchers.append('version=~"$version"')
        matchers += [f'{label}="{value}"' for label, value in labels.items()]
        return f"{metric.name}{part}{{{', '.join(matchers)}}}"

    def rate(self, metric: Metric, part: Part = "", *also: str, **labels: str) -> str:
        """Increase per second, by the selection's labels and those of ``also``."""
        return self._summed(f"rate({self._over(metric, part, labels)})", *also)

    def increase(self, metric: Metric, part: Part = "", *also: str, **labels: str) -> str:
        """Increase within the span."""
        return self._summed(f"increase({self._over(metric, part, labels)})", *also)

    def mean(self, histogram: Metric) -> str:
        """Mean of what was observed; NaN where nothing was."""
        return ratio(self.rate(histogram, "_sum"), self.rate(histogram, "_count"))

    def deviation(self, histogram: Metric, squares: Metric) -> str:
        """Exact standard deviation of what was observed."""
        of_squares = ratio(self.rate(squares), self.rate(histogram, "_count"))
        return f"sqrt(clamp_min({of_squares} - ({self.mean(histogram)}) ^ 2, 0))"

    def quantile(self, q: float, histogram: Metric) -> str:
        """Value that a share of ``q`` of what was observed stays below."""
        return f"histogram_quantile({q:g}, {self.rate(histogram, '_bucket', 'le')})"

    def buckets(self, histogram: Metric) -> str:
        """How many observations fell into each bucket, of all selected series together."""
        return f"sum by (le) (increase({self._over(histogram, '_bucket', {})}))"

    def greatest(self, gauge: Metric, *also: str, **labels: str) -> str:
        """Value of a gauge; the greatest where several instances have one."""
        return f"max{self._by(*also)} ({self.series(gauge, '', **labels)})"

    def least(self, gauge: Metric, *also: str) -> str:
        """Value of a gauge; the least where several instances have one."""
        return f"min{self._by(*also)} ({self.series(gauge)})"

    def served(self, gauge: Metric, *also: str, **labels: str) -> str:
        """Value of a gauge of the versions that are being served; older ones keep their last."""
        current = f"{self.series(MODEL_INFO)} == 1"
        chosen = self.series(gauge, "", **labels)
        return f"max{self._by(*also)} ({chosen} and on ({_VERSION}) ({current}))"

    def age(self, timestamp: Metric) -> str:
        """Seconds since the moment that a gauge of each instance holds."""
        return f"time() - max by (instance) ({self.series(timestamp)})"

    def quantity_evidence(self, evidence: Metric) -> str:
        """Logarithm of the evidence summed over the channels of a quantity, as alarms see it.

        Channels of the latency are one quantity, those of calibration another, all others that of
        the predictions. Every instance has evidence of its own: the greatest is shown, and not the
        sum.
        """
        current = f"{self.series(MODEL_INFO)} == 1"
        served = f"{self.series(evidence)} and on ({_VERSION}) ({current})"
        named = f'label_replace({served}, "quantity", "predictions", "", "")'
        for other in ("latency", "calibration"):
            named = f'label_replace({named}, "quantity", "{other}", "channel", "{other}_.+")'
        return f"max{self._by('quantity')} (ln(sum by ({_VERSION}, quantity) (exp({named}))))"

    def _over(self, metric: Metric, part: Part, labels: dict[str, str]) -> str:
        return f"{self.series(metric, part, **labels)}[{self.span}]"

    def _summed(self, expression: str, *also: str) -> str:
        return f"sum{self._by(*also)} ({expression})"

    def _by(self, *also: str) -> str:
        labels = ", ".join(filter(None, (self.by, *also)))
        return f" by ({labels})" if labels else ""


def ratio(part: str, whole: str) -> str:
    """Divide; NaN where the whole is zero."""
    return f"{part} / {whole}"


def some(count: str) -> str:
    """Leave out what counted nothing: where no click ever comes in, a rate of 0 would be wrong."""
    return f"({count} > 0)"
