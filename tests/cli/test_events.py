"""`changeover events`: lines of what happened, and of what happens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from changeover.cli import events
from changeover.cli.client import ControlClient
from changeover.cli.main import run
from changeover.client.ask import Ask, Unreachable
from changeover.errors import ChangeoverError
from tests.cli.fake import FakeControl

ROLLOUT: dict[str, Any] = {
    "type": "rollout", "id": 7, "at": 1769860800.25, "time": "2026-01-31T12:00:00.250000Z", "model": "digits",
    "rollout": "r-000002", "from": "1", "to": "2", "phase": "progressing", "step": "5%", "weight": 500, "by": "plan",
    "reason": None, "detail": None,
}  # fmt: skip


def stream(*told: dict[str, Any], present: bool = True) -> bytes:
    """What the server sends."""
    events = b"".join(b"id: %d\ndata: %s\n\n" % (e["id"], json.dumps(e).encode()) for e in told)
    return b"retry: 1000\n\n" + events + (b": present\nid: %d\n\n" % told[-1]["id"] if present else b"")


def test_what_has_happened_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """And it ends where the present begins, though the connection stays."""
    with FakeControl({"GET /v1/events": (200, stream(ROLLOUT) + stream(ROLLOUT | {"id": 8}))}) as fake:
        assert run(["events", "--model", "digits", "--control", fake.url]) == 0
        assert fake.seen[0].path.startswith("/v1/events?last=20&types=rollout%2C")
        assert fake.seen[0].path.endswith("&model=digits")
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert out.rstrip().endswith("rollout     digits r-000002 1 → 2 progressing 5% (plan)")


def test_lines_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    """A document a line, as the server told it."""
    with FakeControl({"GET /v1/events": (200, stream(ROLLOUT, ROLLOUT | {"id": 8}))}) as fake:
        assert run(["events", "--after", "6", "-o", "json", "--control", fake.url]) == 0
        assert fake.seen[0].path.startswith("/v1/events?after=6&")
    assert [json.loads(text)["id"] for text in capsys.readouterr().out.splitlines()] == [7, 8]


def test_a_broken_connection_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the last event seen; what the server then refuses ends it."""
    monkeypatch.setattr(events, "_AGAIN_S", 0.0)
    answers: Iterator[tuple[int, Any]] = iter(
        [
            (200, stream(ROLLOUT, present=False)),
            (200, stream(ROLLOUT | {"id": 8}, ROLLOUT | {"id": 9})),
            (401, {"error": "no", "reason": "unauthenticated"}),
        ]
    )
    with FakeControl({"GET /v1/events": lambda: next(answers)}) as fake:
        told = events._followed(ControlClient(fake.url), {"last": 1}, follow=True)
        assert [next(told)["id"] for _ in range(3)] == [7, 8, 9]
        with pytest.raises(ChangeoverError, match="no"):
            next(told)
        assert [seen.path for seen in fake.seen] == [f"/v1/events?{q}" for q in ("last=1", "after=7", "after=9")]


def test_a_reader_to_whom_nothing_was_told_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """The place comes with the word that the present begins; a server that is away then ends nothing."""
    monkeypatch.setattr(events, "_AGAIN_S", 0.0)
    quiet = b"retry: 1000\n\n: present\nid: 41\n\n"
    answers: Iterator[tuple[int, Any]] = iter([(200, quiet), (200, stream(ROLLOUT | {"id": 43}))])
    with FakeControl({"GET /v1/events": lambda: next(answers)}) as fake:
        client = ControlClient(fake.url)
        lines, away = client.lines, iter([False, True, False])

        def unsteady(ask: Ask) -> Iterator[bytes]:
            if next(away):
                raise Unreachable("away", reason="control_unreachable")
            return lines(ask)

        monkeypatch.setattr(client, "lines", unsteady)
        told = events._followed(client, {"last": 0, "types": "rollout"}, follow=True)
        assert next(told)["id"] == 43
        assert [seen.path for seen in fake.seen] == [
            "/v1/events?last=0&types=rollout", "/v1/events?types=rollout&after=41"
        ]  # fmt: skip


def test_nobody_there(capsys: pytest.CaptureFixture[str]) -> None:
    """A sentence and exit 2, with -f too."""
    with FakeControl() as fake:
        url = fake.url
    assert run(["events", "-f", "--control", url]) == 2
    assert "control_unreachable" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (
            {"type": "version", "version": "2", "digest": "ab12ff", "state": "failed", "detail": "NaN"},
            "2@ab12 failed: NaN",
        ),
        ({"type": "operator", "asked": "weight", "weight": "5%", "by": "ci"}, "weight 5% (ci)"),
        ({"type": "operator", "asked": "end_sequence", "sequence": "7", "by": "ci"}, "end_sequence 7 (ci)"),
        ({"type": "operator", "asked": "undo", "refused": "no_standby", "detail": "why"}, "undo refused: why"),
        ({"type": "certificate", "rollout": "r-1", "outcome": "succeeded", "by": "plan"}, "r-1 succeeded (plan)"),
        ({"type": "alert", "state": "firing", "alert": "errors", "detail": "1% failed"}, "firing errors: 1% failed"),
        ({"type": "reset", "asked": 4, "first": 9}, "events 5 to 8 are no longer kept"),
        ({"type": "strange", "x": 1}, "x=1"),
        (
            {
                "type": "sample",
                "models": {"m": {"versions": {"1": {"requests_per_s": 9.5, "p99_ms": 2.0, "weight": 9500}}}},
            },
            "m/1 9.5/s p99 2.0 ms 95%",
        ),
    ],
)
def test_each_kind_has_its_words(event: dict[str, Any], text: str) -> None:
    """After time, type and model."""
    assert events.line({"at": 0.0, "model": None, **event}).endswith(f" - {text}")
