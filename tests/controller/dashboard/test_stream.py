"""The dashboard and a server that plays what it is told: resuming, alarms, and what cannot be read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from changeover.controller.dashboard.files import assets
from changeover.testing import wait_for
from tests.browser import chromium, opened, text, violations

HOME = "http://dashboard.test"
ALARM = {
    "type": "alert",
    "at": 1_795_000_000.0,
    "model": "m",
    "alert": "error_rate",
    "state": "firing",
    "severity": "critical",
    "version": "2",
    "since": "2026-11-23T04:00:00Z",
    "detail": "2 % of its requests failed",
}
MODEL = {
    "name": "m", "state": "ready", "epoch": 3, "active": "1", "standby": None, "candidate": None, "rollout": None,
    "versions": [], "inputs": [], "outputs": [],
}  # fmt: skip


class Played:
    """Answers of a server: documents by path, and what the stream says at each connection, the last one for ever.

    Attributes:
        resumed: the header `last-event-id` of each connection.
    """

    def __init__(self, documents: dict[str, Any], streams: list[str]) -> None:
        self.resumed: list[str | None] = []
        self._documents = documents
        self._streams = streams

    def __call__(self, route: Any) -> None:
        """Answer a request."""
        path = route.request.url.removeprefix(HOME).partition("?")[0]
        if path == "/v1/events":
            self.resumed.append(route.request.headers.get("last-event-id"))
            body = self._streams[min(len(self.resumed), len(self._streams)) - 1]
            route.fulfill(status=200, content_type="text/event-stream", body=body)
        elif path in self._documents:
            status, document = self._documents[path]
            route.fulfill(status=status, content_type="application/json", body=json.dumps(document))
        elif path == "/ui" or path.startswith("/ui/"):
            asset = assets()[path.removeprefix("/ui").removeprefix("/") or "index.html"]
            route.fulfill(status=200, content_type=asset.media, body=asset.body)
        else:
            route.fulfill(status=404, content_type="application/json", body='{"error": "no", "reason": "not_there"}')


def line(number: int, event: dict[str, Any]) -> str:
    """An event as the stream has it."""
    return f"id: {number}\ndata: {json.dumps(event)}\n\n"


def documents(*, alerts: list[dict[str, Any]]) -> dict[str, Any]:
    """A server with one model."""
    return {
        "/v1/access": (200, {"guarded": False, "scopes": ["admin", "read"]}),
        "/v1/models": (200, {"models": [MODEL]}),
        "/v1/models/m": (200, MODEL),
        "/v1/alerts": (200, {"alerts": alerts}),
    }


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One for all tests of this file."""
    with chromium() as started:
        yield started


def play(browser: Any, played: Played) -> Any:
    """A page of this server."""
    return opened(browser, f"{HOME}/ui", routed=played)


def test_a_stream_is_taken_up_after_the_last_event(browser: Any) -> None:
    """The first connection asks for none, every later one for what came after the last that was seen."""
    played = Played(documents(alerts=[]), [": present\n\n" + line(41, ALARM) + line(42, ALARM), ": present\n\n"])
    with play(browser, played) as page:
        wait_for(lambda: page.wait_for_timeout(50) or len(played.resumed) > 2, "two more connections")
        assert played.resumed[:3] == [None, "42", "42"]


def test_an_alarm_is_shown_until_it_is_resolved(browser: Any) -> None:
    """One that fires already, one that begins, and its end; axe is content with them."""
    known = {**ALARM, "alert": "memory", "detail": "85 % of the limit"}
    begins = ": present\n\n" + line(1, ALARM)
    with play(browser, Played(documents(alerts=[known, ALARM]), [begins])) as page:
        text(page, ".alerts li", "85 % of the limit")
        text(page, ".alerts li", "2 % of its requests failed")
        assert page.locator(".alerts li").count() == 2
        assert violations(page) == []
    ends = line(2, {**ALARM, "state": "resolved"})
    with play(browser, Played(documents(alerts=[known]), [": present\n\n" + ends])) as page:
        text(page, ".alerts li", "85 % of the limit")
        assert page.locator(".alerts li").count() == 1


def test_what_cannot_be_read_is_told_with_its_reason(browser: Any) -> None:
    """In the server's own sentence."""
    sick = documents(alerts=[]) | {
        "/v1/models": (503, {"error": "the journal cannot be read", "reason": "journal_defect"})
    }
    with play(browser, Played(sick, [": present\n\n"])) as page:
        text(page, ".empty", "the journal cannot be read")
        text(page, ".empty code", "journal_defect")
        assert page.locator(".empty").count() == 1
