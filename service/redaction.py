"""Takes secrets out of what is logged: those that the environment holds, and any in a URL.

Messages are written without them in the first place. This is for what others put into theirs:
database drivers, HTTP clients, tracebacks.
"""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote, quote_plus, unquote, urlsplit

_SECRET_NAME = re.compile(r"KEY|TOKEN|PASSWORD|SECRET", re.IGNORECASE)
_LEAST_LENGTH = 4
"""Shorter ones hide nothing, and stand in ordinary words."""
_IN_URL = re.compile(r"(://[^\s/:@]*:)[^\s/@]+@|([?&](?:password|token)=)[^&\s'\"]+", re.IGNORECASE)
_PASSWORD_OF_URL = re.compile(r"://([^:/?#\s@]*):(.+)@")
_PARAMETER_OF_URL = re.compile(r"[?&](?:password|token)=([^&\s]+)", re.IGNORECASE)
_HIDDEN = "***"
_NOTHING = re.compile(r"(?!)")


@dataclass(frozen=True, slots=True)
class Redactor:
    """Knows some secrets."""

    secrets: re.Pattern[str]

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """Know what the variables of a process hold: keys, tokens, passwords, those of URLs."""
        forms = {
            form
            for name, value in environment.items()
            for secret in _secrets(name, value)
            if len(secret) >= _LEAST_LENGTH
            for form in _forms(secret)
        }
        if not forms:
            return cls(_NOTHING)
        # The longest first: one may be the beginning of another.
        ordered = sorted(forms, key=lambda form: (-len(form), form))
        return cls(re.compile("|".join(map(re.escape, ordered))))

    def redacted(self, text: str) -> str:
        """Give the text without them."""
        return _IN_URL.sub(_without, self.secrets.sub(_HIDDEN, text))


def _secrets(name: str, value: str) -> Iterator[str]:
    if _SECRET_NAME.search(name):
        yield value
        # As many read it from a file, with the line's end.
        yield value.strip()
    for user, password in _PASSWORD_OF_URL.findall(value):
        yield password
        pair = f"{unquote(user)}:{unquote(password)}"
        yield base64.b64encode(pair.encode()).decode()
    yield from _PARAMETER_OF_URL.findall(value)
    if "://" in value and (token := _lone_user(value)):
        yield token


def _lone_user(url: str) -> str | None:
    """Give what stands before the host alone: with some servers a token."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    user, at, _ = parts.netloc.rpartition("@")
    return user if at and ":" not in user else None


def _forms(secret: str) -> Iterator[str]:
    """Give a secret as others may write it."""
    for plain in {secret, unquote(secret)}:
        yield plain
        yield quote(plain, safe="")
        yield quote(plain)
        yield quote_plus(plain)
        yield repr(plain)[1:-1]
        yield json.dumps(plain)[1:-1]


def _without(found: re.Match[str]) -> str:
    before, parameter = found.groups()
    return f"{parameter}{_HIDDEN}" if parameter else f"{before}{_HIDDEN}@"
