"""The dashboard in a real browser, of a real server: watched, clicked, cut off, and looked at by axe."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from changeover.testing import Server, exchange, wait_for
from tests import onnx_models
from tests.browser import chromium, opened, text, violations
from tests.free_port import free_port
from tests.guarded import ADMIN, GuardedServer, write_tokens
from tests.traffic import Traffic

READ, STRAY = "read-0123456789abcdef", "stray-0123456789abcdef"
FACTORS = {"1": 2.0, "2": 2.0, "3": 2.0}
PLAN = """\
rollout:
  strategy: canary
  steps: [{weight: 20%, hold: 1h}, {weight: 50%, hold: 1h}]
  max_hold: 2h
  min_requests: 10
  holdback: 0
gates: {accuracy: {enabled: false}, performance: {enabled: false}}
"""
BAR = ".rollout .bar-new"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One for all tests of this file."""
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """It serves version 1 of `m`; version 3 will answer with errors."""
    folder = tmp_path_factory.mktemp("dashboard")
    faults = folder / "faults.json"
    faults.write_text(json.dumps({"models": {"m": {"3": {"kind": "error", "rate": 0.5, "after": 20}}}}))
    with Server(folder, faults=str(faults), control_port=free_port()) as made:  # its own after a restart too
        made.plan("m", PLAN)
        made.deploy("m", onnx_models.scale(2.0).SerializeToString(), 1)
        yield made


def url(server: Server, place: str = "") -> str:
    """Address of a page."""
    return f"http://127.0.0.1:{server.control_port}/ui{place}"


def press(page: Any, verb: str) -> str:
    """Press a button and confirm; returns what the confirmation said."""
    page.locator(f"[data-verb={verb}]").click()
    said: str = page.locator("dialog").inner_text()
    assert violations(page) == []
    page.locator(f"[data-confirm={verb}]").click()
    page.locator("dialog").wait_for(state="detached")
    return said


def wide(page: Any, percent: int) -> None:
    """Wait until the new version's part of the bar is to have this width."""
    page.wait_for_function(f"document.querySelector('{BAR}').style.width === '{percent}%'")


def test_a_rollout_is_watched_and_promoted_by_clicking(server: Server, browser: Any) -> None:
    """From the list of models to the undo: every press is told beforehand, done, and seen without a reload."""
    with Traffic(server.http_port, "m", FACTORS, rate=80), opened(browser, url(server)) as page:
        text(page, ".models", "m")
        assert violations(page) == []
        server.push("m", onnx_models.scale(2.0).SerializeToString(), 2)
        text(page, ".models .badge", "Progressing")
        page.get_by_role("link", name="m", exact=True).click()
        text(page, ".track [aria-current=step]", "20")
        wide(page, 20)
        page.locator(".chart canvas").nth(5).wait_for()
        text(page, ".legend", "2@")
        assert violations(page) == []
        assert "keeps its 20" in press(page, "pause")
        text(page, ".rollout .badge", "Paused")
        press(page, "resume")
        text(page, ".rollout .badge", "Progressing")
        assert "is skipped: 50" in press(page, "promote")
        text(page, ".rollout .badge", "Watching")
        wide(page, 100)
        assert server.model("m")["active"] == "2"
        text(page, "#certificate-title ~ *, .card", "Requests")
        assert "returns to 1@" in press(page, "undo")
        text(page, ".rollout .badge", "Rolled back")
        wide(page, 0)
        assert server.model("m")["active"] == "1"
        assert page.locator(".track .failed").inner_text().startswith("undo window")
        assert page.problems == []


def test_a_rollback_is_seen(server: Server, browser: Any) -> None:
    """The judge takes a failing version back while somebody looks: why, and where; it stays in the history."""
    dark = opened(browser, url(server, "#/models/m"), color_scheme="dark")
    with Traffic(server.http_port, "m", FACTORS, rate=120), dark as page:
        pushed = server.push("m", onnx_models.scale(2.0).SerializeToString(), 3)["rollout"]
        text(page, ".rollout .badge", "Rolled back")
        text(page, ".track .failed .note", "error rate")
        wide(page, 0)
        text(page, ".events", "Rolled back")
        assert violations(page) == []
        page.get_by_role("link", name="r-000001").click()
        text(page, ".rollout .badge", "Succeeded")
        assert page.locator("[data-verb]").count() == 0  # of an earlier rollout there is nothing to ask
        assert violations(page) == []
        page.get_by_role("link", name=pushed).click()
        text(page, ".rollout .badge", "Rolled back")
        assert page.problems == []


def test_nothing_is_polled(server: Server, browser: Any) -> None:
    """While samples come and nothing else happens, the page asks for nothing."""
    with opened(browser, url(server, "#/models/m")) as page:
        page.locator(".chart canvas").first.wait_for()
        text(page, ".card", "Versions")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        for _ in range(20):  # a certificate may still be completed, which is an event
            asked.clear()
            samples, events = heard(page)
            wait_for(lambda seen=samples: heard(page)[0] > seen + 2, "more samples")
            if heard(page)[1] == events and not asked:
                break
        assert asked == []
        assert heard(page)[0] > samples


def test_foreign_script_does_not_run(server: Server, browser: Any) -> None:
    """The policy stops one that got into the page, as a script and as an attribute; a style in a text too."""
    add = "(text) => { const one = document.createElement('div'); document.body.append(one); one.innerHTML = text; }"
    script = "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.hurt = 1'}))"
    with opened(browser, url(server)) as page:
        text(page, ".models", "m")
        page.evaluate(script)
        page.evaluate(add, "<img src=x onerror='window.hurt = 2'><p id=p style='color: red'>p</p>")
        wait_for(lambda: page.wait_for_timeout(20) or len(page.problems) >= 3, "the browser's complaints")
        assert all("Content Security Policy" in one for one in page.problems), page.problems
        assert page.evaluate("window.hurt") is None
        assert page.evaluate("getComputedStyle(document.getElementById('p')).color") != "rgb(255, 0, 0)"


def heard(page: Any) -> tuple[int, int]:
    """How many samples and which journalled event the page has heard last."""
    state = "({state}) => [state.series.m?.times.length ?? 0, state.log.m?.[0]?.id ?? 0]"
    samples, event = page.evaluate(f"import('/ui/store.js').then({state})")
    return samples, event


def test_a_server_that_was_away_is_found_again(server: Server, browser: Any) -> None:
    """A killed controller, then the whole server: the page says it, and goes on by itself where it was."""
    with opened(browser, url(server, "#/models/m"), viewport={"width": 390, "height": 844}) as page:
        text(page, ".link-state", "Live")
        page.evaluate("window.unbroken = true")
        text(page, ".events", "Rolled back")
        server.kill()
        text(page, ".banner", "It is tried again")
        text(page, ".link-state", "Disconnected")
        assert violations(page) == []
        assert page.locator("[data-verb]:not([aria-disabled])").count() == 0
        server.start()
        server.wait_ready()
        text(page, ".link-state", "Live")
        page.locator(".banner").wait_for(state="detached")
        server.named("controller").kill()
        text(page, ".link-state", "Disconnected")
        text(page, ".link-state", "Live")
        text(page, ".title", "Ready")
        assert page.evaluate("window.unbroken") is True
        assert heard_twice(page) == []


def heard_twice(page: Any) -> list[int]:
    """Journalled events that the page was told more than once."""
    told = page.evaluate(
        "import('/ui/store.js').then(({state}) => Object.values(state.log).flat().map((one) => one.id))"
    )
    assert told
    return [number for number in set(told) if told.count(number) > 1]


def test_who_may_only_look(tmp_path: Path, browser: Any) -> None:
    """Without a token nothing, with `read` everything but the buttons, with `admin` those too; kept in the tab only."""
    with GuardedServer(tmp_path, encrypted=False) as guarded:
        write_tokens(guarded.tokens, f"admin {ADMIN} deploy\nread {READ} wall\ninfer infer-0123456789abcdef shop\n")
        wait_for(lambda: exchange(guarded.control_port, "GET", "/v1/models").status == 401, "the tokens")
        guarded.plan("m", PLAN)
        with opened(browser, url(guarded)) as page:
            text(page, ".empty", "asks for a token")
            assert violations(page) == []
            enter(page, STRAY)
            text(page, ".problem", "does not know this token")
            page.keyboard.press("Escape")
            wait_for(lambda: len(rights(guarded)) == 2, "the tokens to be read")
            enter(page, READ)
            text(page, ".empty", "No model is served yet")
            assert violations(page) == []
            assert (page.evaluate("localStorage.length"), page.context.cookies()) == (0, [])
            deploy(guarded)
            page.get_by_role("link", name="m", exact=True).click()
            button = page.locator("[data-verb=abort]")
            button.focus()
            assert "needs the scope admin" in page.locator("#why-abort").inner_text()
            page.keyboard.press("Enter")
            assert page.locator("dialog").count() == 0
            enter(page, ADMIN)
            page.locator("[data-verb=abort]:not([aria-disabled])").click()
            page.locator("[data-confirm=abort]").wait_for()


def rights(guarded: GuardedServer) -> list[str]:
    """Of the token for reading and the admin's, once the server has read them."""
    known = [guarded.ask(guarded.control_port, "GET", "/v1/models", token=token).status for token in (READ, ADMIN)]
    return [str(status) for status in known if status == 200]


def deploy(guarded: GuardedServer) -> None:
    """Version 1 serves, version 2 is at its first step."""
    guarded.deploy("m", onnx_models.scale(2.0).SerializeToString(), 1)
    guarded.push("m", onnx_models.scale(2.0).SerializeToString(), 2)


def enter(page: Any, token: str) -> None:
    """Put a token into the page's dialog."""
    page.locator(".top .button").click()
    page.locator("#token").fill(token)
    page.keyboard.press("Enter")
