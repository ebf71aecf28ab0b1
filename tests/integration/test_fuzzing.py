"""Each target of the fuzzer for some seconds, and with a fault in what it tries.

``python -m fuzz`` searches for longer; what it found is tested beside what was at fault.
"""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from service_process import ROOT

from fuzz.__main__ import NAMES

pytestmark = pytest.mark.integration

SLOW = {"metrics_files": 600, "model_folders": 600}
"""Targets that write files, and how many inputs take a few seconds."""
RUNS = 3000
PLANTED = {
    "experiment_files": """
from service.prediction import experiment
experiment._LARGEST = float("inf")
""",
    "metrics_files": """
from service.telemetry.stored_file import Part
Part.checked = lambda part: part
""",
    "model_folders": """
from service.prediction import model_folder
model_folder._checked = lambda path, _: path.read_bytes()
""",
    "prediction_ids": """
import hmac
hmac.compare_digest = lambda one, other: one[:1] == other[:1]
""",
    "prometheus_answers": """
from service.sources import prometheus_api
prometheus_api._MALFORMED = (KeyError, TypeError)
""",
    "request_bodies": """
import msgspec
from service.api import fast_lane, quick_bodies
from service.prediction.ad_request import AdRequest
def read_anything(body):
    return [AdRequest(**msgspec.json.decode(body))]
lane = fast_lane._LANES["/predict_ctr"]
fast_lane._LANES["/predict_ctr"] = lane._replace(read=read_anything)
fast_lane.UNUSUAL = Exception
""",
    "settings": """
from service import settings
settings._is_text = lambda value: True
""",
    "stored_snapshots": """
from service.state import encoding
encoding.np.diff = lambda array, prepend: array
""",
}


@pytest.fixture(autouse=True)
def _needs_atheris() -> None:
    if find_spec("atheris") is None:
        reason = "atheris is missing: it is installed with the other packages, on Linux"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.mark.parametrize("target", NAMES)
def test_no_input_that_is_found_in_seconds_breaks_the_law(target: str) -> None:
    runs = SLOW.get(target, RUNS)
    done = subprocess.run(
        [sys.executable, "-m", "fuzz", target, f"--runs={runs}", "--seconds=60"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-5000:]
    # At least the inputs to begin with are tried.
    [tried] = re.findall(r"^Done (\d+) runs", done.stdout, re.MULTILINE)
    assert int(tried) >= runs


@pytest.mark.parametrize("target", NAMES)
def test_a_planted_fault_is_found(target: str, tmp_path: Path) -> None:
    planted = f"{PLANTED[target]}\nfrom fuzz.targets.{target} import check, seeds\n"
    (tmp_path / "planted.py").write_text(planted)
    search = (
        "from pathlib import Path; from fuzz.runner import fuzz; "
        "fuzz('planted', seconds=60, runs=20_000, seed=1, findings=Path('found'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", search],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )

    assert done.returncode != 0, done.stdout[-5000:]
    assert "Uncaught Python exception" in done.stdout
    assert list((tmp_path / "found").iterdir())
