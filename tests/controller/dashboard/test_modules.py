"""The dashboard's own modules, in a browser and without a server: the stream's text, the charts' columns, the way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from changeover.controller.dashboard.files import assets
from tests.browser import chromium, opened, violations

HOME = "http://dashboard.test"
STREAM = 'retry: 1000\n\nid: 7\ndata: {"a":\ndata: 1}\n\n: present\nid: 8\n\n: keep-alive\r\nid: 9\r\n\r\ndata: "b"\n\n'
ROLLOUT: dict[str, Any] = {
    "phase": "progressing",
    "reason": None,
    "detail": None,
    "from": {"version": "1", "digest": "aaaaaa"},
    "to": {"version": "2", "digest": "bbbbbb"},
    "step": {"index": 2, "name": "10%", "of": 4, "held_s": 3.2, "hold_s": 10, "requests": 150, "min_requests": 200},
    "weight": {"set": 1000, "actual": 0.1},
    "steps": ["shadow", "10%", "50%", "100%"],
    "gates": [{"gate": "warmup", "result": "passed"}],
    "ruling": None,
    "history": [
        {"phase": "validating", "event": "started", "step": None},
        {"phase": "shadowing", "event": "proven", "step": "shadow"},
        {"phase": "progressing", "event": "step_clear", "step": "10%"},
    ],
    "plan": {"rollout": {"strategy": "canary", "hold": 30, "undo_window": 600, "steps": [{}, {}, {"hold": 90}]}},
}


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    """A blank page of the place where the modules are."""

    def fulfil(route: Any) -> None:
        asset = assets().get(route.request.url.removeprefix(f"{HOME}/ui/"))
        if asset is None:
            route.fulfill(status=200, content_type="text/html", body="<!doctype html><title>blank</title>")
        else:
            route.fulfill(status=200, content_type=asset.media, body=asset.body)

    with chromium() as browser, opened(browser, HOME, routed=fulfil) as made:
        yield made


def test_axe_finds_what_is_wrong(page: Any) -> None:
    """The judge of all pages is awake: a picture without a text, and pale words."""
    page.evaluate("document.body.innerHTML = '<main><h1>h</h1><img src=x><p style=\"color:#ddd\">pale</p></main>'")
    found = " ".join(violations(page))
    assert "image-alt" in found
    assert "color-contrast" in found


def told(page: Any, module: str, expression: str, given: object = None) -> Any:
    """The value of an expression over a module `m` and what is given, `g`."""
    return page.evaluate(f"async (g) => {{ const m = await import('/ui/{module}'); return {expression}; }}", given)


def test_the_stream_is_cut_right_wherever_its_pieces_end(page: Any) -> None:
    """Every way to tear the text in two gives the same events."""
    whole = [{"id": "7", "data": '{"a":\n1}', "present": False}, {"id": "8", "data": "", "present": True}]
    whole.append({"id": None, "data": '"b"', "present": False})
    tear = "[...g].map((_, i) => { const cut = m.cutter(); return [...cut(g.slice(0, i)), ...cut(g.slice(i))]; })"
    assert told(page, "stream.js", tear, STREAM) == [whole] * len(STREAM)


def test_a_version_has_a_gap_where_it_was_not(page: Any) -> None:
    """Columns are as long as the times, whenever a version came; a pause of the stream is no line."""
    told_of = [(1, {"1": 5}), (2, {"1": 6, "2": 7}), (2, {"1": 99}), (30, {"2": 8})]
    given = [[at, {name: {"p50_ms": value} for name, value in versions.items()}] for at, versions in told_of]
    fill = "g.forEach(([at, versions]) => m.append(s, at, versions))"
    made = told(
        page,
        "series.js",
        f"(() => {{ const s = m.emptySeries(); {fill}; return m.columns(s, 'p50_ms', ['1', '2']) }})()",
        given,
    )
    assert made == [[1, 2, 3, 30], [5, 6, None, None], [None, 7, None, 8]]


def test_old_samples_are_dropped(page: Any) -> None:
    """The page may stay open for days."""
    fill = "for (let at = 1; at <= 5000; at += 1) m.append(s, at, {1: {p50_ms: 1, memory_bytes: 1}})"
    kept = told(
        page,
        "series.js",
        f"(() => {{ const s = m.emptySeries(); {fill}; return [s.times.length, s.versions[1].p50_ms.length] }})()",
    )
    assert kept[0] == kept[1] < 800


@pytest.mark.parametrize(
    ("change", "states", "note"),
    [
        ({}, "done done current ahead ahead ahead", "needs 7 s, 50 requests"),
        ({"phase": "paused"}, "done done paused ahead ahead ahead", "needs 7 s, 50 requests"),
        ({"phase": "validating", "step": None}, "current ahead ahead ahead ahead ahead", "being proven"),
        ({"phase": "promoting", "step": None}, "done done done done current ahead", ""),
        ({"phase": "watching", "step": None}, "done done done done done current", "ends now"),
        ({"phase": "succeeded", "step": None}, "done done done done done done", None),
        ({"phase": "rolled_back", "reason": "error_rate"}, "done done failed ahead ahead ahead", "error rate"),
        (
            {"phase": "failed", "step": None, "reason": "not_finite"},
            "failed ahead ahead ahead ahead ahead",
            "not finite",
        ),
    ],
    ids=lambda value: value.get("phase", "progressing") if isinstance(value, dict) else "",
)
def test_the_way_of_a_rollout(page: Any, change: dict[str, Any], states: str, note: str | None) -> None:
    """Where it is, what lies behind and ahead, and what is said there."""
    way = told(page, "course.js", "m.stations(g)", ROLLOUT | change)
    assert [one["name"].replace("\u202f", " ") for one in way] == [
        "gates",
        "shadow",
        "10 %",
        "50 %",
        "100 %",
        "undo window",
    ]
    assert " ".join(one["state"] for one in way) == states
    here = [one["note"] for one in way if one["state"] in ("current", "paused", "failed")]
    assert here == ([] if note is None else [note])


def test_numbers_are_told_shortly(page: Any) -> None:
    """Three figures that matter, and a dash for what is not known."""
    given = [None, 0, 0.1234, 9.999, 12.345, 123.4, 1234567.0]
    assert told(page, "format.js", "g.map(m.figure)", given) == [
        "\u2013",
        "0",
        "0.12",
        "10.00",
        "12.3",
        "123",
        "1,234,567",
    ]
    spans = [0, 59_400, 61_000, 3_600_000, 90_000_000]
    assert told(page, "format.js", "g.map(m.span)", spans) == ["0 s", "59 s", "1 min 01 s", "1 h 00 min", "1 d 1 h"]
    assert told(page, "format.js", "g.map(m.bytes)", [None, 1 << 20, 300 << 20, 3 << 30]) == [
        "\u2013", "1.0 MiB", "300 MiB", "3.00 GiB",
    ]  # fmt: skip


def test_an_address_that_somebody_typed_is_read_as_far_as_it_can_be(page: Any) -> None:
    """One that is encoded wrong is taken as it stands, and the page is drawn."""
    assert told(page, "format.js", "g.map(m.decoded)", ["a%20b", "%", "%e4"]) == ["a b", "%", "%e4"]
