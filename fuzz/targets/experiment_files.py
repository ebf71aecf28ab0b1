"""Files of an A/B test, as ``experiment.toml``.

Law: a file is an experiment that assigns every user to one of its variants, or an
``ExperimentError`` that names the file.
"""

import tempfile
from pathlib import Path

from fuzz.damage import Choices
from service.prediction.experiment import Experiment, ExperimentError

_VALID = (
    b'name = "a"\nsalt = "s"\n[variants]\nxgboost = 0.8\nlogistic = 0.2\n[shadow]\nthird = 0.1\n'
)
_VALUES = (b"1e400", b"nan", b"-1", b"true", b"[]", b"'x'", b"9" * 400, b"1e308", b"5e-324", b"{}")
_HOME = tempfile.TemporaryDirectory()
_FILE = Path(_HOME.name) / "experiment.toml"


def seeds() -> list[bytes]:
    """A valid file, and its lines with other values."""
    return [
        b"\x00" + _VALID,
        b"\x00" + b"a=" + b"[" * 2000,
        *(bytes([1, line, value]) for line in range(8) for value in range(len(_VALUES))),
    ]


def check(data: bytes) -> None:
    """Read the bytes, or the valid file with some values replaced."""
    choices = Choices(data)
    if choices.below(2):
        lines = _VALID.splitlines()
        for _ in range(2):
            line = choices.below(len(lines))
            name, equals, _ = lines[line].partition(b"=")
            if equals:
                lines[line] = name + equals + _VALUES[choices.below(len(_VALUES))]
        content = b"\n".join(lines)
    else:
        content = choices.rest
    _FILE.write_bytes(content)
    try:
        experiment = Experiment.from_toml(_FILE)
    except ExperimentError as error:
        assert str(_FILE) in str(error)
        return
    for user in ("", "a", "b", "ü"):
        assert experiment.weights[experiment.assign(user).model] > 0
    experiment.shares().encode()
    assert 0 <= experiment.fingerprint < 1 << 32
