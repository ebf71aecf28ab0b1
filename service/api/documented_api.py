"""FastAPI with an OpenAPI document that says no more than is true."""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI

from service import __version__
from service.api.answers import JSON
from service.api.errors import PROBLEM_TYPE, documented

_DESCRIPTION = """
Every error is a problem (RFC 9457). Beside what each endpoint says: a method that it does not have
is answered by 405 with `Allow`; 408 and 431 have no body and close the connection.
"""


class DocumentedApi(FastAPI):
    """The service's API, still without endpoints."""

    def __init__(self, **fastapis: Any) -> None:  # noqa: ANN401 - handed on
        super().__init__(
            title="ctr-monitor",
            version=__version__,
            summary="Click-through-rate predictions whose monitoring can be trusted.",
            description=_DESCRIPTION,
            responses=documented(HTTPStatus.REQUEST_URI_TOO_LONG),
            **fastapis,
        )

    def openapi(self) -> dict[str, Any]:
        """Give the document; made once."""
        made = self.openapi_schema is not None
        document = super().openapi()
        if not made:
            for path in document["paths"].values():
                for operation in path.values():
                    for answer in operation["responses"].values():
                        _without_fastapis_type(answer.get("content", {}))
        return document


def _without_fastapis_type(content: dict[str, Any]) -> None:
    # FastAPI adds the type of answers that are none of an error to what its model is named for.
    if PROBLEM_TYPE in content:
        content.pop(JSON, None)
