"""The page at `/`: files that are read once, packed once, and served from memory."""

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Self

from fastapi import APIRouter, Header, HTTPException, Response

_SERVICE = Path(__file__).parents[1]
PAGE_FOLDER = _SERVICE / "page"
RUNBOOKS_FOLDER = _SERVICE.parent / "docs" / "runbooks"

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    # Every browser shows it, none as Markdown.
    ".md": "text/plain; charset=utf-8",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_CACHE = {".svg": "max-age=86400"}
"""A tab shows its icon also while the service is down."""
_HEADERS = {
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Encoding",
    "X-Content-Type-Options": "nosniff",
}

_Header = Annotated[str, Header()]


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFile:
    """A file as it is sent."""

    content: bytes
    packed: bytes
    """By gzip."""
    content_type: str
    cache: str
    tag: str
    """Changes with the content."""
    policy: str
    """What a browser may load and run."""

    @classmethod
    def read(cls, path: Path, policy: str = _POLICY) -> Self:
        """Read one of a type that the page is made of.

        Raises:
            KeyError: It is of another type.
        """
        content = path.read_bytes()
        return cls(
            content=content,
            packed=gzip.compress(content, mtime=0),
            content_type=_TYPES[path.suffix],
            # Asked for again at each visit, and answered by 304 unless the service is another one.
            cache=_CACHE.get(path.suffix, "no-cache"),
            tag=f'W/"{hashlib.sha256(content).hexdigest()[:20]}"',
            policy=policy,
        )

    def answer(self, accepted_encoding: str, known_tags: str) -> Response:
        """Answer one request for the file."""
        headers = {
            **_HEADERS,
            "Content-Security-Policy": self.policy,
            "Cache-Control": self.cache,
            "ETag": self.tag,
        }
        if self.tag in {tag.strip() for tag in known_tags.split(",")}:
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        content = self.content
        if "gzip" in accepted_encoding:
            headers["Content-Encoding"] = "gzip"
            content = self.packed
        return Response(content, headers={**headers, "Content-Type": self.content_type})


def page_router(folder: Path = PAGE_FOLDER, runbooks: Path = RUNBOOKS_FOLDER) -> APIRouter:
    """Endpoints of the page, its files, and the runbooks that it refers to.

    Raises:
        OSError: The page is not in its folder.
    """
    router = APIRouter(include_in_schema=False)
    files = {path.name: PageFile.read(path) for path in sorted(folder.iterdir())}
    index = files.pop("index.html")
    texts = {path.stem: PageFile.read(path) for path in sorted(runbooks.glob("*.md"))}

    @router.get("/")
    async def page(accept_encoding: _Header = "", if_none_match: _Header = "") -> Response:
        return index.answer(accept_encoding, if_none_match)

    @router.get("/page/{name}")
    async def file(
        name: str, accept_encoding: _Header = "", if_none_match: _Header = ""
    ) -> Response:
        return _of(files, name).answer(accept_encoding, if_none_match)

    @router.get("/runbooks/{name}")
    async def runbook(
        name: str, accept_encoding: _Header = "", if_none_match: _Header = ""
    ) -> Response:
        return _of(texts, name.removesuffix(".md")).answer(accept_encoding, if_none_match)

    return router


def _of(files: Mapping[str, PageFile], name: str) -> PageFile:
    if name not in files:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"there is no {name!r} here")
    return files[name]
