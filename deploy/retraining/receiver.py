"""The HTTP side: ``POST /retrain`` with Alertmanager's message."""

import hmac
import json
import logging
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from deploy.retraining.payload import InvalidPayloadError, drifted_models
from deploy.retraining.training import Training

PATH = "/retrain"
_LONGEST_BODY = 1024 * 1024
_PATIENCE_SECONDS = 10.0

_LOGGER = logging.getLogger(__name__)


class Receiver(ThreadingHTTPServer):
    """Accepts messages of Alertmanager.

    Args:
        address: Host and port to listen on.
        training: What a drift starts.
        token: What the sender must show as ``Authorization: Bearer ...``; None asks for nothing.
    """

    daemon_threads = True

    def __init__(self, address: tuple[str, int], training: Training, token: str | None) -> None:
        super().__init__(address, _Handler)
        self.training = training
        self.token = token


class _Handler(BaseHTTPRequestHandler):
    timeout = _PATIENCE_SECONDS
    server: Receiver

    def do_POST(self) -> None:
        """Answer 202 with what was done, or say what is wrong."""
        if self.path != PATH:
            return self._answer(HTTPStatus.NOT_FOUND, {"error": f"post to {PATH}"})
        if not self._authorised():
            return self._answer(HTTPStatus.UNAUTHORIZED, {"error": "the token is wrong"})
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdecimal():
            return self._answer(HTTPStatus.LENGTH_REQUIRED, {"error": "no Content-Length"})
        if int(length) > _LONGEST_BODY:
            return self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"error": "too long"})
        try:
            models = drifted_models(self.rfile.read(int(length)))
        except InvalidPayloadError as error:
            return self._answer(HTTPStatus.BAD_REQUEST, {"error": str(error)})
        outcome = self.server.training.request(models)
        return self._answer(
            HTTPStatus.ACCEPTED, {"models": sorted(models), "training": str(outcome)}
        )

    def _authorised(self) -> bool:
        if self.server.token is None:
            return True
        shown = self.headers.get("Authorization", "").encode()
        return hmac.compare_digest(shown, f"Bearer {self.server.token}".encode())

    def _answer(self, status: HTTPStatus, body: dict[str, object]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        _LOGGER.info("%s %s", self.address_string(), format % args)
