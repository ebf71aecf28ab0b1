"""The page's files: what they refer to is there, and their colours can be told apart."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from service.api.page import PAGE_FOLDER, RUNBOOKS_FOLDER, page_router

INDEX = (PAGE_FOLDER / "index.html").read_text()
STYLE = (PAGE_FOLDER / "style.css").read_text()
MODULES = {path.name: path.read_text() for path in PAGE_FOLDER.glob("*.js")}
RUNBOOKS = {path.stem for path in RUNBOOKS_FOLDER.glob("*.md")}
READ_ON = {
    "ground": ("text", "quiet", "link"),
    "surface": ("text", "quiet", "link", "unknown", "warning", "degraded"),
    "raised": ("text", "quiet", "link"),
    "band": ("quiet",),
    "healthy-tint": ("text", "healthy"),
    "warning-tint": ("text", "warning", "link"),
    "degraded-tint": ("text", "degraded"),
    "unknown-tint": ("unknown",),
    "info-tint": ("info",),
}
SEEN_ON_SURFACE = ("now", "before", "second", "third", "limit", "degraded", "healthy", "warning")


def colours() -> Iterator[tuple[str, dict[str, str]]]:
    found = re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", STYLE)
    yield "light", {name: light for name, light, _ in found}
    yield "dark", {name: dark for name, _, dark in found}


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2.2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_is_computed_as_wcag_has_it() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.005)


@pytest.mark.parametrize(("theme", "palette"), list(colours()))
def test_words_and_lines_stand_out_in_both_themes(theme: str, palette: dict[str, str]) -> None:
    pale = [
        (theme, text, ground)
        for ground, texts in READ_ON.items()
        for text in texts
        if contrast(palette[text], palette[ground]) < 4.5
    ]
    faint = [
        (theme, line) for line in SEEN_ON_SURFACE if contrast(palette[line], palette["surface"]) < 3
    ]

    assert (pale, faint) == ([], [])


def test_the_page_loads_every_module_at_once() -> None:
    preloaded = re.findall(r'rel="modulepreload" href="/page/([\w.]+)"', INDEX)
    scripts = re.findall(r'<script[^>]* src="/page/([\w.]+)"></script>', INDEX)

    assert sorted([*preloaded, *scripts]) == sorted(MODULES)


def test_nothing_is_inline_and_nothing_comes_from_elsewhere() -> None:
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script>", INDEX)
    for name, text in {"index.html": INDEX, "style.css": STYLE, **MODULES}.items():
        addresses = set(re.findall(r"(?:https?:)?//[\w.]+\.\w+[\w./]*", re.sub(r"// .*", "", text)))
        assert addresses <= {"http://www.w3.org/2000/svg"}, name


def test_every_runbook_can_be_reached_and_every_one_named_exists() -> None:
    named = set(re.findall(r"\bCtr[A-Z]\w+", "\n".join(MODULES.values())))

    assert set(re.findall(r'href="/runbooks/(\w+)"', INDEX)) == RUNBOOKS
    assert named <= RUNBOOKS


def test_every_class_that_a_plot_uses_is_styled() -> None:
    used = {
        name
        for text in MODULES.values()
        for names in re.findall(r'(?:class|kind|mark): "([a-z ]+)"', text)
        for name in names.split()
    }
    assert used - set(re.findall(r"\.([a-z-]+)", STYLE)) <= {"moved", "unseen", "body"}


def get(path: str, **headers: str) -> httpx.Response:
    """Ask a service that has the page and nothing else."""

    async def ask() -> httpx.Response:
        app = FastAPI()
        app.include_router(page_router())
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            return await client.get(path, headers=names)

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/", "text/html"),
        ("/page/style.css", "text/css"),
        ("/page/page.js", "text/javascript"),
        ("/page/icon-healthy.svg", "image/svg+xml"),
        ("/runbooks/CtrDrift", "text/plain"),
        ("/runbooks/CtrDrift.md", "text/plain"),
    ],
)
def test_a_file_is_sent_packed_with_its_type_and_a_policy(path: str, media_type: str) -> None:
    packed = get(path)
    unpacked = get(path, accept_encoding="identity")
    again = get(path, if_none_match=f'"other", {packed.headers["etag"]}')

    assert packed.headers["content-type"].partition(";")[0] == media_type
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in unpacked.headers
    assert packed.content == unpacked.content  # the client unpacks
    assert int(packed.headers["content-length"]) < int(unpacked.headers["content-length"])
    policy = packed.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert packed.headers["x-content-type-options"] == "nosniff"
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["/page/index.html", "/page/..%2fsettings.py", "/runbooks/no"])
def test_only_the_files_of_the_page_are_sent(path: str) -> None:
    assert get(path).status_code == 404


def test_without_its_folder_the_page_refuses_to_start(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="page"):
        page_router(tmp_path / "page")
