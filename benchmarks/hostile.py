"""Hostile requests of many kinds; of each it is known how it must be answered and counted.

``python -m benchmarks.hostile`` sends 100,000 to a service that nobody else asks meanwhile, and
compares. A short form is a test.
"""

import argparse
import http.client
import json
import random
import string
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import quote, urlsplit

import httpx
from prometheus_client.parser import text_string_to_metric_families

JSON_TYPE = {"Content-Type": "application/json"}
AD = {
    "user_id": "u1",
    "ad_id": "a1",
    "device": "mobile",
    "placement": "header",
    "hour": 14,
    "day_of_week": 0,
}
ANSWERED = "answered"
"""Counted as a request of a model; everything else by the reason for which it was refused."""
UNCOUNTED = ""
"""Counted by what it holds, which is tried elsewhere."""


class Hostile(NamedTuple):
    """One request, and what must become of it."""

    method: str
    path: str
    body: bytes
    headers: Mapping[str, str]
    status: int
    counted: str


@dataclass
class Attack:
    """What was sent, and what came back."""

    sent: Counter[str] = field(default_factory=Counter)
    """By how it must be counted."""
    wrong: list[str] = field(default_factory=list)
    """Requests that were answered with another status than they must be."""


def attack(url: str, requests: int, *, seed: int) -> Attack:
    """Send so many requests over one connection, and again where the service closes it."""
    rng, done = random.Random(seed), Attack()  # noqa: S311 - to be repeatable
    address = urlsplit(url).netloc
    connection = http.client.HTTPConnection(address, timeout=30)
    for _ in range(requests):
        one = rng.choice(_KINDS)(rng)
        connection.request(one.method, one.path, one.body, dict(one.headers))
        answer = connection.getresponse()
        content = answer.read()
        if one.counted != UNCOUNTED:
            done.sent[one.counted] += 1
        if answer.status != one.status:
            what = f"{one.method} {one.path[:80]}: {answer.status}, not {one.status}"
            done.wrong.append(f"{what}: {content[:200]!r}")
    connection.close()
    return done


def counted(url: str) -> Counter[str]:
    """Read how many requests were counted as what."""
    found: Counter[str] = Counter()
    for family in text_string_to_metric_families(httpx.get(f"{url}/metrics").text):
        for sample in family.samples:
            if sample.name == "ctr_requests_total":
                found[ANSWERED] += int(sample.value)
            elif sample.name == "ctr_rejected_requests_total":
                found[sample.labels["reason"]] += int(sample.value)
    return found


def main() -> int:
    """Attack a running service; returns 1 where something was answered or counted wrongly."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="(%(default)s)")
    parser.add_argument("--requests", type=int, default=100_000, help="how many (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the dice (%(default)s)")
    flags = parser.parse_args()
    before = counted(flags.url)
    done = attack(flags.url, flags.requests, seed=flags.seed)
    wrong: list[str] = done.wrong[:20]
    gained = counted(flags.url) - before
    wrong += [
        f"{what}: counted {gained[what]}, sent {done.sent[what]}"
        for what in gained | done.sent
        if gained[what] != done.sent[what]
    ]
    sys.stdout.write("\n".join([*wrong, f"{flags.requests} sent: {len(wrong)} wrong\n"]))
    return 1 if wrong else 0


def _text(rng: random.Random, longest: int) -> str:
    letters = string.printable + "äé€\u202e\U0001f600\x00\x7f"
    return "".join(rng.choices(letters, k=rng.randint(1, longest)))


def _post(body: object, status: int, counted: str, path: str = "/predict_ctr") -> Hostile:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Hostile("POST", path, content, JSON_TYPE, status, counted)


def _new_values(rng: random.Random) -> Hostile:
    texts = ("user_id", "ad_id", "device", "placement")
    return _post(AD | {name: _text(rng, 100) for name in texts}, HTTPStatus.OK, ANSWERED)


def _wrong_field(rng: random.Random) -> Hostile:
    wrong: object = rng.choice([None, -1, 24, 1e300, [], {}, "x" * 10_000, [[[[]]]], True])
    return _post(
        AD | {rng.choice(["hour", _text(rng, 20)]): wrong},
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "invalid_body",
    )


def _broken_json(rng: random.Random) -> Hostile:
    body = json.dumps(AD).encode()
    broken = body[: rng.randrange(1, len(body))]
    return _post(broken, HTTPStatus.UNPROCESSABLE_ENTITY, "malformed_json")


def _deep_json(rng: random.Random) -> Hostile:
    return _post(
        b"[" * rng.randint(1000, 30_000), HTTPStatus.UNPROCESSABLE_ENTITY, "malformed_json"
    )


def _unknown_model(rng: random.Random) -> Hostile:
    name = quote(_text(rng, 8) + "!", safe="")
    path = rng.choice(
        [f"/monitoring/stats?model_name={name}", f"/monitoring/quality/{name.replace('%2F', 'x')}"]
    )
    return Hostile("GET", path, b"", {}, HTTPStatus.NOT_FOUND, "unknown_model")


def _nowhere(rng: random.Random) -> Hostile:
    path = f"/nowhere/{quote(_text(rng, 50), safe='')}"
    return Hostile("GET", path, b"", {}, HTTPStatus.NOT_FOUND, "not_found")


def _wrong_method(rng: random.Random) -> Hostile:
    method = rng.choice(["DELETE", "GET", "OPTIONS"])
    return Hostile(
        method, "/predict_ctr", b"", {}, HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed"
    )


def _wrong_type(rng: random.Random) -> Hostile:
    headers = {"Content-Type": rng.choice(["text/plain", "application/xml", "x"])}
    body = json.dumps(AD).encode()
    return Hostile(
        "POST",
        "/predict_ctr",
        body,
        headers,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
    )


def _too_large(rng: random.Random) -> Hostile:
    body = b" " * (64 * 1024 + rng.randint(1, 1000))
    return _post(body, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body_too_large")


def _long_address(rng: random.Random) -> Hostile:
    path = "/monitoring/stats?x=" + "y" * rng.randint(9000, 20_000)
    return Hostile("GET", path, b"", {}, HTTPStatus.REQUEST_URI_TOO_LONG, "url_too_long")


def _forged_click(rng: random.Random) -> Hostile:
    events = [{"prediction_id": _text(rng, 200), "clicked": True} for _ in range(3)]
    return _post({"events": events}, HTTPStatus.OK, UNCOUNTED, "/feedback")


_KINDS: tuple[Callable[[random.Random], Hostile], ...] = (
    _new_values,
    _wrong_field,
    _broken_json,
    _deep_json,
    _unknown_model,
    _nowhere,
    _wrong_method,
    _wrong_type,
    _too_large,
    _long_address,
    _forged_click,
)


if __name__ == "__main__":
    sys.exit(main())
