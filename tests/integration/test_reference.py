"""The pages about the API in a real browser: all from here, under a strict policy, and usable."""

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from chromium import Tab, running_chromium
from service_process import Service

pytestmark = pytest.mark.integration


@pytest.fixture
def tab(tool: Callable[[str, str], str], tmp_path: Path) -> Iterator[Tab]:
    with running_chromium(tool("chromium", "chromium"), tmp_path / "profile") as open_tab:
        yield open_tab()


def all_from(service: Service, tab: Tab) -> bool:
    schemes = {urlsplit(url)[:2] for url in tab.requested if not url.startswith("data:")}
    return schemes == {urlsplit(service.url)[:2]}


def test_swagger_ui_shows_every_endpoint_and_tries_one(service: Service, tab: Tab) -> None:
    tab.open(f"{service.url}/docs")
    with service.client() as client:
        paths = client.get("/openapi.json").json()["paths"]
        policy = client.get("/docs").headers["content-security-policy"]
    tab.until(
        f"document.querySelectorAll('.opblock').length == {sum(map(len, paths.values()))}",
        what="every endpoint is shown",
    )

    tab.value("document.querySelector('[id*=healthz] .opblock-summary-control').click()")
    tab.until("document.querySelector('.try-out__btn')", what="it can be tried")
    tab.value("document.querySelector('.try-out__btn').click()")
    tab.until("document.querySelector('.execute')", what="it can be sent")
    tab.value("document.querySelector('.execute').click()")
    tab.until(
        "document.querySelector('.live-responses-table tbody .response-col_status')"
        "?.innerText.startsWith('200')",
        what="its answer is shown",
    )

    assert tab.complaints == []
    assert all_from(service, tab)
    assert "unsafe" not in policy


def test_redoc_shows_every_endpoint(service: Service, tab: Tab) -> None:
    tab.open(f"{service.url}/redoc")
    with service.client() as client:
        paths = client.get("/openapi.json").json()["paths"]
    tab.until(
        "document.querySelectorAll('[id^=tag][id*=operation]').length"
        f" == {sum(map(len, paths.values()))}",
        what="every endpoint is shown",
    )

    assert tab.complaints == []
    assert all_from(service, tab)
