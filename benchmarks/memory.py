"""Does memory grow with traffic? Loads a service for some minutes and watches what it holds.

Run from the repository's root, with models trained: ``python -m benchmarks.memory --minutes 10``.
"""

import argparse
import http.client
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

WARM_UP_SECONDS = 60
CLIENTS = 4
BATCH = 50
SAMPLES = 20


def main() -> int:
    """Load, watch, print; returns 1 when memory or open files grew."""
    parser = argparse.ArgumentParser(description="Watch a loaded service's memory.")
    parser.add_argument("--minutes", type=float, default=10)
    minutes = parser.parse_args().minutes
    with tempfile.TemporaryDirectory() as state:
        command = [sys.executable, "scripts/run_api.py", "--port", "0", "--state-dir", state]
        service = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603
        try:
            if service.stdout is None:
                return 2
            address = service.stdout.readline().split("//")[-1].strip()
            return _watch(service.pid, address, minutes * 60)
        finally:
            service.send_signal(signal.SIGINT)
            service.wait()


def _watch(pid: int, address: str, seconds: float) -> int:
    stopping = threading.Event()
    sent = [0] * CLIENTS
    clients = [
        threading.Thread(target=_load, args=(address, stopping, sent, number))
        for number in range(CLIENTS)
    ]
    for client in clients:
        client.start()
    time.sleep(min(WARM_UP_SECONDS, seconds / 4))
    megabytes, files, predictions = [], [], []
    for _ in range(SAMPLES):
        time.sleep(seconds / SAMPLES)
        megabytes.append(_pss_megabytes(pid))
        files.append(sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()))
        predictions.append(sum(sent))
    stopping.set()
    for client in clients:
        client.join()
    slope, _ = np.polyfit(predictions, megabytes, 1)
    served = predictions[-1] - predictions[0]
    print(f"{served:,} predictions in {seconds:.0f} s, {SAMPLES} samples")
    print("memory, MB (PSS):", " ".join(f"{value:.1f}" for value in megabytes))
    print("open files:      ", " ".join(map(str, files)))
    print(f"growth: {slope * 1e6:+.3f} MB per million predictions")
    # Noise of the allocator is a few megabytes; growth of a leak would go on.
    half = SAMPLES // 2
    grew = np.median(megabytes[half:]) > np.median(megabytes[:half]) + 2
    return int(grew or max(files) > files[0] + CLIENTS)


def _load(address: str, stopping: threading.Event, sent: list[int], number: int) -> None:
    connection = http.client.HTTPConnection(address)
    headers = {"Content-Type": "application/json"}
    rng = np.random.default_rng(number)
    while not stopping.is_set():
        rows = [_ad_request(rng) for _ in range(BATCH)]
        for path, body in (("/predict_ctr", rows[0]), ("/predict_ctr/batch", {"requests": rows})):
            connection.request("POST", path, json.dumps(body), headers)
            connection.getresponse().read()
        connection.request("GET", "/monitoring/stats?window=5m")
        connection.getresponse().read()
        sent[number] += 1 + BATCH


def _ad_request(rng: np.random.Generator) -> dict[str, str | int]:
    # Most users and many ads are new, as in a real stream.
    return {
        "user_id": f"user{rng.integers(10**9)}",
        "ad_id": f"ad{rng.integers(10**4)}",
        "device": f"device{rng.integers(100)}",
        "placement": f"placement{rng.integers(1000)}",
        "hour": int(rng.integers(24)),
        "day_of_week": int(rng.integers(7)),
    }


def _pss_megabytes(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("the kernel does not tell the proportional set size")


if __name__ == "__main__":
    sys.exit(main())
