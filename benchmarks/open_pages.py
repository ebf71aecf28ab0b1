"""What open pages cost a running service, in processor time.

Run beside a service: ``python -m benchmarks.open_pages --pid PID``, the PID being that of the
process that serves (CTR_WORKERS=1). Each page asks as `service/page/page.js` does, over one
connection, first as the page does and then without sharing answers.
"""

import argparse
import asyncio
import os
import random
import re
import time
from pathlib import Path
from typing import NamedTuple

import httpx

_PAGE = Path(__file__).parents[1] / "service" / "page" / "page.js"
_SOURCE = re.compile(r"(\w+): \{ path: [`\"]([^`\"]+)[`\"], every: (\w+) \}")
_SLOW_SECONDS = 10.0
"""Of what is asked for less often where the span is long."""


class _Source(NamedTuple):
    path: str
    every: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pid", type=int, required=True)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--model", default="xgboost")
    parser.add_argument("--pages", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60.0)
    flags = parser.parse_args()
    sources = _sources(flags.model)

    began, alone = time.perf_counter(), _cpu_seconds(flags.pid)
    time.sleep(flags.seconds / 4)
    idle = (_cpu_seconds(flags.pid) - alone) / (time.perf_counter() - began)
    print(f"without a page: {idle:.3f} s of processor per second")
    for shares in (True, False):
        began, before = time.perf_counter(), _cpu_seconds(flags.pid)
        asked = asyncio.run(_look(flags.url, sources, flags.pages, flags.seconds, shares=shares))
        length = time.perf_counter() - began
        cost = (_cpu_seconds(flags.pid) - before) / length - idle
        how = "sharing answers" if shares else "each for itself"
        print(
            f"{flags.pages} pages, {how}: {cost:+.3f} s of processor per second, "
            f"{asked / length:.1f} answers/s"
        )


def _sources(model: str) -> list[_Source]:
    found = {}
    for name, path, every in _SOURCE.findall(_PAGE.read_text()):
        for variable, value in {"model": model, "window": "15m", "points": "72"}.items():
            path = path.replace(f"${{{variable}}}", value)  # noqa: PLW2901 - bit by bit
        found[name] = _Source(path, float(every) if every.isdigit() else _SLOW_SECONDS)
    return list(found.values())


async def _look(
    url: str, sources: list[_Source], pages: int, seconds: float, *, shares: bool
) -> int:
    until = time.monotonic() + seconds
    counts = await asyncio.gather(*(_page(url, sources, until, shares) for _ in range(pages)))
    return sum(counts)


async def _page(url: str, sources: list[_Source], until: float, shares: bool) -> int:  # noqa: FBT001
    # Pages were opened at some time, each at another one.
    now = time.monotonic()
    due = {source: now + random.random() * source.every for source in sources}  # noqa: S311
    asked = 0
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        while True:
            source, at = min(due.items(), key=lambda one: one[1])
            await asyncio.sleep(max(min(at, until) - time.monotonic(), 0.0))
            if at >= until:
                return asked
            most = max(int(source.every / 2), 1)
            headers = {"Cache-Control": f"max-age={most}"} if shares else {}
            (await client.get(source.path, headers=headers)).raise_for_status()
            asked += 1
            due[source] = time.monotonic() + source.every


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
