"""One shape for every error: problem details (RFC 9457), and one table from error to status."""

import logging
import math
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from service.api.schemas import FieldProblem, Problem
from service.monitoring.capture import UnusableTrafficError
from service.monitoring.catalogue import Rejection
from service.prediction.predictor import UnknownModelError
from service.prediction.release import ReleaseRefusedError
from service.prediction.release_plan import NotReleasedError
from service.prediction.release_store import ReleaseBusyError
from service.prediction.turn import ModelFailedError
from service.releasing import ReleaseTimeoutError
from service.request_id import HEADER, current_request_id
from service.sources.errors import SourceUnavailableError
from service.state.errors import StateError
from service.telemetry.errors import CountersUnavailableError
from service.telemetry.recorder import Recorder

PROBLEM_TYPE = "application/problem+json"
_RETRY_SECONDS = "5"
_MAX_FIELDS_NAMED = 20
"""A hostile body has hundreds of thousands of wrong fields; the answer stays small."""

_QUIET_SECONDS = 60.0

_LOGGER = logging.getLogger(__name__)

_REJECTION_OF_STATUS = {
    HTTPStatus.NOT_FOUND: Rejection.NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED: Rejection.METHOD_NOT_ALLOWED,
    HTTPStatus.UNAUTHORIZED: Rejection.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN: Rejection.FORBIDDEN,
}


_HEADER_OF_STATUS = {
    HTTPStatus.UNAUTHORIZED: ("WWW-Authenticate", {"type": "string"}),
    HTTPStatus.SERVICE_UNAVAILABLE: ("Retry-After", {"type": "integer", "minimum": 1}),
}


def documented(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """Describe error answers for the OpenAPI document of an endpoint."""
    return {status.value: _documented(status) for status in statuses}


def _documented(status: HTTPStatus) -> dict[str, Any]:
    described: dict[str, Any] = {
        "description": status.phrase,
        "model": Problem,
        "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    if status in _HEADER_OF_STATUS:
        name, schema = _HEADER_OF_STATUS[status]
        described["headers"] = {name: {"required": True, "schema": schema}}
    return described


def problem(
    status: HTTPStatus,
    detail: str,
    errors: list[FieldProblem] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Make the answer."""
    request_id = current_request_id()
    body = Problem(
        title=status.phrase, status=status, detail=detail, errors=errors, request_id=request_id
    )
    named = {} if request_id is None else {HEADER.decode(): request_id}
    return Response(
        body.model_dump_json(exclude_none=True),
        status_code=status,
        media_type=PROBLEM_TYPE,
        headers={**(headers or {}), **named},
    )


def model_failed(error: ModelFailedError) -> Response:
    """Answer for a model that gave no usable score."""
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))


def defect() -> Response:
    """Answer for what must not happen; whoever answers raises on, so that the log says why."""
    detail = "the service failed; its log says why"
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail)


def install_error_handlers(app: FastAPI, recorder: Recorder) -> None:
    """Answer every error as a problem, count the client's, and log what is away."""
    away = _Away()

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> Response:
        first_errors = error.errors()[:_MAX_FIELDS_NAMED]
        malformed = any(e["type"] == "json_invalid" for e in first_errors)
        recorder.rejected(Rejection.MALFORMED_JSON if malformed else Rejection.INVALID_BODY)
        fields = [_field_problem(e) for e in first_errors]
        detail = "; ".join(f"{f.field}: {f.message}" for f in fields[:3])
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, fields)

    @app.exception_handler(UnknownModelError)
    @app.exception_handler(NotReleasedError)
    async def _unknown_model(_: Request, error: UnknownModelError | NotReleasedError) -> Response:
        recorder.rejected(Rejection.UNKNOWN_MODEL)
        detail = str(error)
        return problem(
            HTTPStatus.NOT_FOUND, detail, [FieldProblem(field="model_name", message=detail)]
        )

    @app.exception_handler(ModelFailedError)
    async def _model_failed(_: Request, error: ModelFailedError) -> Response:
        return model_failed(error)

    @app.exception_handler(UnusableTrafficError)
    @app.exception_handler(ReleaseRefusedError)
    @app.exception_handler(ReleaseBusyError)
    async def _conflict(
        _: Request, error: UnusableTrafficError | ReleaseRefusedError | ReleaseBusyError
    ) -> Response:
        return problem(HTTPStatus.CONFLICT, str(error))

    @app.exception_handler(StateError)
    @app.exception_handler(SourceUnavailableError)
    @app.exception_handler(CountersUnavailableError)
    @app.exception_handler(ReleaseTimeoutError)
    async def _unavailable(_: Request, error: Exception) -> Response:
        away.tell(error)
        return problem(
            HTTPStatus.SERVICE_UNAVAILABLE, str(error), headers={"Retry-After": _RETRY_SECONDS}
        )

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> Response:
        status = HTTPStatus(error.status_code)
        if status is HTTPStatus.BAD_REQUEST:  # FastAPI's answer to what is no text or no JSON
            recorder.rejected(Rejection.MALFORMED_JSON)
            unreadable = FieldProblem(field="body", message="not JSON in UTF-8")
            detail = f"{unreadable.field}: {unreadable.message}"
            return problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, [unreadable])
        if status in _REJECTION_OF_STATUS:
            recorder.rejected(_REJECTION_OF_STATUS[status])
        return problem(status, str(error.detail), headers=error.headers)

    @app.exception_handler(Exception)
    async def _defect(_: Request, __: Exception) -> Response:
        return defect()


class _Away:
    """Tells of something that does not answer, with the request that first met it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told: dict[type[Exception], float] = {}

    def tell(self, error: Exception) -> None:
        """Log it unless that was done within the last minute: pages ask every few seconds."""
        now = self._clock()
        if now - self._told.get(type(error), -math.inf) > _QUIET_SECONDS:
            self._told[type(error)] = now
            _LOGGER.warning("answered 503: %s", error)


def _field_problem(error: Mapping[str, Any]) -> FieldProblem:
    # The first part of the path is where the value came from: body, query, path.
    path = [str(part) for part in error["loc"][1:]] or [str(error["loc"][0])]
    if error["type"] == "value_error":  # of several fields together; its text begins with one
        field, _, message = str(error["ctx"]["error"]).partition(": ")
        return FieldProblem(field=field, message=message)
    if error["type"] == "json_invalid":
        reason = error.get("ctx", {}).get("error", "")
        return FieldProblem(
            field="body", message=f"not JSON at character {path[0]}: {reason}".rstrip(": ")
        )
    return FieldProblem(field=".".join(path), message=error["msg"])
