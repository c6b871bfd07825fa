"""A real browser for tests: Debian's Chromium by playwright, and axe for what people with other senses need."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.needed import needed

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
PATIENCE_MS = 90_000
_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]


@contextmanager
def chromium() -> Iterator[Any]:
    """The browser; a machine without it skips the test."""
    if shutil.which(CHROMIUM) is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    needed("playwright")
    with needed("playwright.sync_api").sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Any, url: str, *, routed: Callable[[Any], None] | None = None, **settings: object) -> Iterator[Any]:
    """A page in a context of its own, with its colours or viewport; what it logs as an error is in `page.problems`.

    `routed` answers all requests instead of a server.
    """
    context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | settings))
    context.set_default_timeout(PATIENCE_MS)
    if routed is not None:
        context.route("**/*", routed)
    page = context.new_page()
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("console", lambda line: page.problems.extend(_complaint(line)))
    try:
        page.goto(url)
        yield page
    finally:
        context.close()


def _complaint(line: Any) -> list[str]:
    """What a page's console says and should not; that something is not there (yet) is an answer like another."""
    known = "the server responded with a status of 404" in line.text
    return [line.text] if line.type in ("error", "warning") and not known else []


def violations(page: Any) -> list[str]:
    """What axe has to say against a page as it is now: rule and place of each violation."""
    needed("axe_playwright_python")
    axe = needed("axe_playwright_python.sync_playwright").Axe()
    found = axe.run(page).response["violations"]
    return [f"{one['id']}: {node['target']} {node['failureSummary']}" for one in found for node in one["nodes"]]


def text(page: Any, selector: str, wanted: str) -> Any:
    """The first element of a selector that has this text, once there is one."""
    found = page.locator(selector, has_text=wanted).first
    found.wait_for()
    return found
