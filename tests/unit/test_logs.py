"""The form of the log: one record a line, readable by people or programs, without secrets."""

import base64
import json
import logging
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.logs import JsonLines, TextLines, escaped
from service.redaction import Redactor
from service.request_id import accepted, current_request_id, handling

ROOT = Path(__file__).parents[2]
PASSWORD = "p@ss/w:rd+7 é"  # noqa: S105 - made up
SECRET = {
    "CTR_SIGNING_KEY": "0123456789abcdef0123456789abcdef-key",
    "CTR_STATE_URL": "postgresql://ctr:" + quote(PASSWORD, safe="") + "@db/ctr",
    "MLFLOW_TRACKING_PASSWORD": "mlflow-secret",
    "SOME_API_TOKEN": "token-of-somebody",
    "HOME": "/home/of/nobody",
}


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("service.x", logging.WARNING, __file__, 1, message, args, None)
    vars(made).update(extra)
    return made


def failing(message: str) -> logging.LogRecord:
    made = record("it failed")
    try:
        raise ValueError(message)  # noqa: TRY301 - it is the point
    except ValueError:
        made.exc_info = sys.exc_info()
    return made


def as_json(
    made: logging.LogRecord, environment: Mapping[str, str] | None = None
) -> dict[str, object]:
    line = JsonLines("worker", Redactor.of(environment or {})).format(made)
    assert len(line.splitlines()) == 1
    read: dict[str, object] = json.loads(line)
    return read


def as_text(made: logging.LogRecord, environment: Mapping[str, str] | None = None) -> str:
    return TextLines("worker", Redactor.of(environment or {})).format(made)


def test_a_json_record_says_when_how_bad_where_and_what() -> None:
    made = record("the model %s fails", "xgboost", model="xgboost", attempts=3)
    read = as_json(made)

    assert list(read.items())[2:] == [
        *(("time", read["time"]), ("level", "warning"), ("logger", "service.x")),
        *(("message", "the model xgboost fails"), ("process", "worker"), ("pid", made.process)),
    ]
    assert (read["model"], read["attempts"]) == ("xgboost", 3)
    at = datetime.fromisoformat(str(read["time"]))
    assert at.utcoffset() == timedelta(0)
    assert str(read["time"]).endswith("Z")
    assert at.timestamp() == pytest.approx(made.created, abs=0.0011)


def test_an_exception_is_one_field_or_an_indented_block() -> None:
    made = failing("no\n2026-11-23T00:00:00.000Z ERROR service[1] forged: line")

    assert "ValueError: no" in str(as_json(made)["exception"])
    first, *below = as_text(made).split("\n")
    assert first.endswith("it failed")
    assert below
    assert all(line.startswith("    ") for line in below)


@given(st.text())
def test_whatever_is_logged_is_one_line(text: str) -> None:
    made = record("got %s", text, field=text)

    read = as_json(made)
    assert read["message"] == f"got {text}"
    assert len(f"{as_text(made)}|".splitlines()) == 1
    assert not any(
        ord(character) in {*range(9), 11, 12, *range(14, 32), *range(127, 160)}
        for character in escaped(text)
    )


@pytest.mark.parametrize("own", [TextLines, JsonLines])
def test_secrets_of_the_environment_are_hidden_in_every_form(
    own: type[TextLines | JsonLines],
) -> None:
    pair = base64.b64encode(f"ctr:{PASSWORD}".encode()).decode()
    configured = [value for name, value in SECRET.items() if name != "HOME"]
    forms = [*configured, PASSWORD, quote(PASSWORD), repr(PASSWORD), pair]

    for form in forms:
        made = failing(f"cannot reach {form}")
        made.msg, made.args, made.field = "with %s", (form,), {"of": form}
        line = own("worker", Redactor.of(SECRET)).format(made)

        for secret in (*(s for s in forms if "://" not in s), "p%40ss", "w:rd"):
            assert secret not in line
            assert json.dumps(secret)[1:-1] not in line
        assert "/home/of/nobody" not in line


def test_the_password_of_any_url_is_hidden_and_the_rest_is_not() -> None:
    said = as_json(record("at https://me:hush@host:5000/a?password=hush2&b=1, http://host/x@y"))

    assert said["message"] == "at https://me:***@host:5000/a?password=***&b=1, http://host/x@y"


def test_words_that_happen_to_stand_near_a_secret_stay() -> None:
    url = {"CTR_STATE_URL": "postgresql://ctr:a@host/ctr", "PORT": "tcp://10.0.0.1:80"}

    assert as_json(record("ctr has a model at 10.0.0.1:80"), url)["message"] == (
        "ctr has a model at 10.0.0.1:80"
    )


def test_a_record_bears_the_id_of_the_request_that_is_handled() -> None:
    with handling({}):
        one = current_request_id()
        assert as_json(record("x"))["request_id"] == one == current_request_id()
        assert as_text(record("x")).endswith(f"x request_id={one}")
    with handling({}):
        assert current_request_id() not in {one, None}

    assert "request_id" not in as_json(record("x"))


@pytest.mark.parametrize(
    "given",
    ["a", "0af7651916cd43dd8448eb211c80319c", "7c1c1b3e-8d1d-4cb0-a5b1-2f1d0f0f0f0f", "a" * 128],
)
def test_a_clients_token_is_its_requests_id(given: str) -> None:
    assert accepted(given.encode()) == given


@pytest.mark.parametrize("given", ["", "a b", "a\nb", "a" * 129, "é", '"><script>', "-a", "a\r"])
def test_what_is_no_token_is_not(given: str) -> None:
    assert accepted(given.encode()) is None


@pytest.mark.parametrize(
    ("code", "level", "said"),
    [
        ("warnings.warn('look out')", "warning", "UserWarning: look out (<string>:3)"),
        ("1 / 0", "critical", "ended by a defect: ZeroDivisionError"),
        (
            "threading.Thread(target=lambda: 1 / 0, name='t').start()",
            "critical",
            "the thread t ended by a defect",
        ),
        ("logging.getLogger('of.a.library').warning('%s', 'hm')", "warning", "hm"),
    ],
)
def test_whatever_a_process_says_is_a_record(code: str, level: str, said: str) -> None:
    begin = "from service.logs import begin_logging; begin_logging({}, process='p')"
    program = f"import logging, sys, threading, warnings\n{begin}\n{code}"
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )

    [line] = ended.stderr.splitlines()
    read = json.loads(line)
    assert (read["level"], read["message"], read["process"]) == (level, said, "p")


@pytest.mark.parametrize(
    ("level", "ours", "of_libraries"),
    [("debug", "debug", "info"), ("info", "info", "warning"), ("error", "error", "error")],
)
def test_libraries_say_less(level: str, ours: str, of_libraries: str) -> None:
    program = f"""
import logging
from service.logs import begin_logging
begin_logging({{"CTR_LOG_LEVEL": {level!r}, "CTR_LOG_FORMAT": "json"}}, process="p")
for name in ("bridge.x", "library"):
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        logging.getLogger(name).log(level, "x")
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )

    records = [json.loads(line) for line in ended.stderr.splitlines()]
    first = {
        name: next(r["level"] for r in records if r["logger"] == name)
        for name in ("bridge.x", "library")
    }
    assert first == {"bridge.x": ours, "library": of_libraries}
