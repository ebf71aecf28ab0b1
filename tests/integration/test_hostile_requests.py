"""Whatever is sent: it is answered and counted exactly, and leaves no series and no memory behind.

The long form, 100,000 requests: ``python -m benchmarks.hostile``.
"""

from pathlib import Path

from exposition import samples
from service_process import Service

from benchmarks.hostile import attack, counted
from service.monitoring.catalogue import CATALOGUE

WARMING, REQUESTS = 1500, 3000
MOST_GROWTH_MB = 8
"""What would be left by 3 kB of each request."""


def memory_mb(service: Service) -> float:
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    return next(
        int(line.split()[1]) / 1000 for line in status.splitlines() if line.startswith("VmRSS")
    )


def test_hostile_requests_are_answered_and_counted_and_leave_nothing_behind(
    service: Service,
) -> None:
    attack(service.url, WARMING, seed=0)
    with service.client() as client:
        series = set(samples(client))
        before, memory = counted(service.url), memory_mb(service)

        done = attack(service.url, REQUESTS, seed=1)

        assert done.wrong == []
        assert counted(service.url) - before == done.sent
        assert memory_mb(service) - memory < MOST_GROWTH_MB
        # Health, drift and their neighbours, all gauges, come with the clock, not with requests.
        new = {name for name, _ in set(samples(client)) - series}
        assert new <= {metric.name for metric in CATALOGUE if metric.kind == "gauge"}
