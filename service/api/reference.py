"""The pages about the API: Swagger UI at `/docs`, ReDoc at `/redoc`, with nothing from elsewhere.

Those that FastAPI makes load their scripts from a content delivery network, and start them by a
script in the page.
"""

from functools import cache, partial
from http import HTTPStatus
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Header, HTTPException, Response

from service.api.page import PageFile

REFERENCE_FOLDER = Path(__file__).parents[1] / "reference"
# ReDoc makes two styles in the page: an empty one, which it then fills, and a fixed one.
_STYLES_OF_REDOC = (
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=' "
    "'sha256-QMIg+bpjm3JdElJ388KYke01izlUW0UoNOeKjpMxdgc='"
)
_POLICY = (
    f"default-src 'none'; script-src 'self'; style-src 'self' {_STYLES_OF_REDOC}; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_Header = Annotated[str, Header()]


def reference_router() -> APIRouter:
    """Endpoints of the pages and their files, which are read when somebody asks: three megabytes.

    Not on the event loop: whoever asks first waits until they are packed.

    Raises:
        RuntimeError: The package with the files of Swagger UI and ReDoc is not installed.
    """
    router = APIRouter(include_in_schema=False)
    files = {path.name: path for path in (*REFERENCE_FOLDER.iterdir(), *_assets().iterdir())}
    read = cache(partial(PageFile.read, policy=_POLICY))

    @router.get("/docs")
    def docs(accept_encoding: _Header = "", if_none_match: _Header = "") -> Response:
        return read(files["docs.html"]).answer(accept_encoding, if_none_match)

    @router.get("/redoc")
    def redoc(accept_encoding: _Header = "", if_none_match: _Header = "") -> Response:
        return read(files["redoc.html"]).answer(accept_encoding, if_none_match)

    @router.get("/reference/{name}")
    def file(name: str, accept_encoding: _Header = "", if_none_match: _Header = "") -> Response:
        if name not in files:
            raise HTTPException(HTTPStatus.NOT_FOUND, f"there is no {name!r} here")
        return read(files[name]).answer(accept_encoding, if_none_match)

    return router


def _assets() -> Path:
    """Find the files without importing what else is in the package."""
    found = find_spec("fastapi_offline")
    if found is None or found.origin is None:
        raise RuntimeError("fastapi-offline is not installed: pip install -r requirements.txt")
    return Path(found.origin).parent / "static"
