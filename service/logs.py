"""Logs in one form for every process: a line for people on a terminal, else an object of JSON.

The standard library's loggers, with a formatter of our own: a worker has to be ready in a second,
and whatever a library logs comes out in the same form.
"""

import json
import logging
import os
import sys
import threading
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Literal, TextIO, get_args

from service.redaction import Redactor
from service.request_id import current_request_id

LogFormat = Literal["auto", "text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]
FORMAT_VARIABLE: Final = "CTR_LOG_FORMAT"
LEVEL_VARIABLE: Final = "CTR_LOG_LEVEL"

_OURS = ("service", "bridge", "deploy", "process")
_OF_LIBRARIES: Mapping[str, int] = {
    "debug": logging.INFO,
    "info": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
"""They tell of each request, each connection and each start."""
_KNOWN = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "color_message"}
# What ends a line for some reader, or steers a terminal; a tab does neither.
_CONTROLS = {
    ord(character): repr(character)[1:-1]
    for character in (*map(chr, range(32)), *map(chr, range(127, 160)), "\u2028", "\u2029")
    if character != "\t"
}


def begin_logging(environment: Mapping[str, str], *, process: str) -> None:
    """Log from now on as the environment says, whatever raises or warns included.

    A word that is none counts as the default: the settings refuse it, and name it.

    Args:
        environment: Variables of this process, of which the secrets are kept out of the log.
        process: What this process is called in its log.
    """
    handler = handler_of(process, environment)
    root = logging.getLogger()
    for old in root.handlers[:]:
        if isinstance(old, _StandardError):
            root.removeHandler(old)
    root.addHandler(handler)
    level = environment.get(LEVEL_VARIABLE, "info")
    if level not in get_args(LogLevel):
        level = "info"
    root.setLevel(_OF_LIBRARIES[level])
    for name in _OURS:
        logging.getLogger(name).setLevel(level.upper())
    logging.captureWarnings(capture=True)
    warnings.formatwarning = _on_one_line
    sys.excepthook = _log_the_end
    threading.excepthook = _log_the_end_of_a_thread


def handler_of(process: str, environment: Mapping[str, str] = os.environ) -> logging.Handler:
    """Make what writes records in our form; for programs that set up their log by a file, too."""
    form = environment.get(FORMAT_VARIABLE, "auto")
    as_json = form == "json" or (form != "text" and not sys.stderr.isatty())
    handler = _StandardError()
    handler.setFormatter((JsonLines if as_json else TextLines)(process, Redactor.of(environment)))
    return handler


def say(text: str, *, to: TextIO) -> None:
    """Tell whoever started a process something, in plain words.

    Where every line has to be JSON (``CTR_LOG_FORMAT=json``) it is a record of the log instead: an
    error where it would go to standard error.
    """
    if os.environ.get(FORMAT_VARIABLE) == "json":
        level = logging.ERROR if to is sys.stderr else logging.INFO
        logging.getLogger("process").log(level, "%s", text)
        return
    plain = escaped(text, keep="\n")
    to.write(f"{Redactor.of(os.environ).redacted(plain)}\n")
    to.flush()


def escaped(text: str, *, keep: str = "") -> str:
    """Write what would begin a new line, or steer a terminal, as in a Python string."""
    return text.translate({code: form for code, form in _CONTROLS.items() if chr(code) not in keep})


class _Lines(logging.Formatter):
    """What both forms have in common."""

    def __init__(self, process: str, redactor: Redactor) -> None:
        super().__init__()
        self._process = process
        self._redactor = redactor

    def _message(self, record: logging.LogRecord) -> str:
        return self._redactor.redacted(record.getMessage())

    def _exception(self, record: logging.LogRecord) -> str:
        parts = [self.formatException(record.exc_info)] if record.exc_info else []
        parts += [self.formatStack(record.stack_info)] if record.stack_info else []
        return self._redactor.redacted("\n".join(parts))

    def _fields(self, record: logging.LogRecord) -> Mapping[str, object]:
        """Give what the ``extra`` of the call has added."""
        added = {name: value for name, value in vars(record).items() if name not in _KNOWN}
        return {name: self._plain(value) for name, value in added.items()}

    def _plain(self, value: object) -> object:
        if value is None or isinstance(value, bool | int | float):
            return value
        return self._redactor.redacted(str(value))


class JsonLines(_Lines):
    """Each record is an object on a line of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        line = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._message(record),
            "process": self._process,
            "pid": record.process,
        }
        if (request_id := current_request_id()) is not None:
            line["request_id"] = request_id
        if exception := self._exception(record):
            line["exception"] = exception
        # ASCII, as some readers end lines at more characters than others.
        return json.dumps({**self._fields(record), **line})


class TextLines(_Lines):
    """Each record is a line, with a traceback indented below."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        words = [escaped(self._message(record))]
        words += [f"{name}={escaped(str(value))}" for name, value in self._fields(record).items()]
        if (request_id := current_request_id()) is not None:
            words.append(f"request_id={request_id}")
        head = f"{_time(record)} {record.levelname:<7} {self._process}[{record.process}]"
        # No line below can be taken for a record.
        below = "".join(
            f"\n    {escaped(line)}" for line in self._exception(record).split("\n") if line
        )
        return f"{head} {record.name}: {' '.join(words)}{below}"


class _StandardError(logging.Handler):
    """Writes to what standard error is at the time, each record at once."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        try:
            sys.stderr.write(f"{self.format(record)}\n")
            sys.stderr.flush()
        except Exception:  # noqa: BLE001 - as the standard library's: no log may end a process
            self.handleError(record)


def _time(record: logging.LogRecord) -> str:
    """In UTC, as RFC 3339 has it, with milliseconds."""
    at = datetime.fromtimestamp(record.created, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _on_one_line(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    del line
    return f"{category.__name__}: {message} ({filename}:{lineno})"


def _log_the_end(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.exit(128 + 2)
    logging.getLogger("process").critical(
        "ended by a defect: %s", kind.__name__, exc_info=(kind, error, traceback)
    )


def _log_the_end_of_a_thread(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_value is not None:
        name = "" if ended.thread is None else ended.thread.name
        logging.getLogger("process").critical(
            "the thread %s ended by a defect", name, exc_info=ended.exc_value
        )
