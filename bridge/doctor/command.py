"""`python -m bridge doctor`: say why nothing shows up."""

import argparse
import os
import sys
from pathlib import Path

from bridge.doctor.examination import as_json, as_text, examine, worst
from bridge.doctor.findings import Level
from service.command_line import Command, ExitStatus, add_json
from service.logs import escaped
from service.redaction import Redactor


def _run(flags: argparse.Namespace) -> int:
    os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")
    findings = examine(os.environ, Path.cwd())
    text = as_json(findings) if flags.json else escaped(as_text(findings), keep="\n")
    sys.stdout.write(f"{Redactor.of(os.environ).redacted(text)}\n")
    return ExitStatus.FAILED if worst(findings) is Level.PROBLEM else ExitStatus.DONE


DOCTOR = Command(
    name="python -m bridge doctor",
    summary="say why nothing shows up in MLflow",
    add_flags=add_json,
    run=_run,
    process="doctor",
    epilog="It looks at the settings, the store, the state, the clock and the disk.",
)
