"""Models for the demo: trained once, and given a baseline of a normal day like today."""

import sys
from datetime import UTC, datetime
from pathlib import Path

from demo.audience import ROWS, SEED, Audience
from demo.narrator import Narrator
from demo.places import ROOT
from demo.stage import Stage

NAMES = ("xgboost", "logistic")


def prepare(
    stage: Stage, audience: Audience, *, models: Path, run: Path, narrator: Narrator, again: bool
) -> None:
    """Write versions of the models that know a day like today.

    Args:
        stage: Runs the commands.
        audience: Who will visit.
        models: Where models are.
        run: Folder for the log and the scores.
        narrator: Says what is going on.
        again: Whether to train also where there are models.

    Raises:
        StageError: A command failed.
    """
    if again or not all((models / name / "CURRENT").exists() for name in NAMES):
        narrator.say(f"training on {ROWS:,} simulated impressions, into {models}", indent=2)
        command = [sys.executable, str(ROOT / "scripts" / "train_models.py")]
        stage.carry_out(
            "training",
            [*command, "--rows", str(ROWS), "--seed", str(SEED), "--output", str(models)],
        )
    log = run / "normal_day.csv"
    audience.write_normal_day(log, now=datetime.now(UTC))
    for name in NAMES:
        stage.carry_out(
            "scoring",
            [
                *(sys.executable, "-m", "service", "score", "--data", str(log)),
                *("--model", name, "--output", str(run / f"{name}_scores.csv")),
                "--as-new-version",
            ],
        )
