"""Pages opened in headless Chromium: offline, and a test fails on any complaint of the page."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

CHROMIUM = shutil.which("chromium")
needs_chromium = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None, reason="no chromium on the path: apt-get install chromium"
    ),
]
WINDOW = ViewportSize(width=1400, height=1200)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium, for as long as the context lasts."""
    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def watched_page(browser: Browser) -> Iterator[Page]:
    """A page of its own; afterwards nothing may have been logged or asked of a network."""
    context = browser.new_context(viewport=WINDOW, color_scheme="light")
    page = context.new_page()
    heard: list[str] = []
    page.on("console", lambda message: heard.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: heard.append(f"error: {error}"))
    page.on("request", lambda request: _note(heard, request.url))
    yield page
    context.close()
    assert heard == []


def open_viewer(page: Page, report: Path, link: str = "") -> None:
    """Open a report and wait until its viewer has drawn a case."""
    page.goto(report.as_uri() + link)
    page.wait_for_selector("#viewer-canvas[data-shown]")


def _note(heard: list[str], address: str) -> None:
    if not address.startswith(("file:", "data:")):
        heard.append(f"request: {address}")
