"""`changeover top`: a line a version, once a second."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from changeover.cli import top
from changeover.cli.client import ControlClient
from changeover.cli.main import run
from changeover.client.ask import Unreachable
from changeover.errors import ChangeoverError
from tests.cli.fake import FakeControl

QUIET: dict[str, Any] = {
    "role": "standby", "loading": "ready", "requests_per_s": 0.0, "errors_per_s": 0.0, "p50_ms": None, "p95_ms": None,
    "p99_ms": None, "in_flight": 0, "memory_bytes": None, "weight": 0,
}  # fmt: skip
BUSY = QUIET | {
    "role": "active", "requests_per_s": 1234.5, "errors_per_s": 0.25, "p50_ms": 1.5, "p95_ms": 2.25, "p99_ms": 10.125,
    "in_flight": 7, "memory_bytes": 47_000_000, "weight": 9500,
}  # fmt: skip
ROLLOUT = {"phase": "progressing", "step": {"name": "5%", "index": 2, "of": 6}}
SAMPLE: dict[str, Any] = {
    "type": "sample",
    "at": 1769860800.25,
    "model": None,
    "models": {
        "digits": {"versions": {"3": QUIET | {"role": "candidate", "weight": 500}, "2": BUSY}, "rollout": ROLLOUT},
        "empty": {"versions": {}, "rollout": None},
    },
}


def stream(*told: dict[str, Any]) -> bytes:
    """What the server sends."""
    return b"retry: 1000\n\n" + b"".join(b"data: %s\n\n" % json.dumps(sample).encode() for sample in told)


def shown(sample: dict[str, Any], silent_s: float = 0.0) -> list[list[str]]:
    """The words of each line."""
    screen = StringIO()
    Console(width=160, file=screen).print(top.picture(sample, silent_s))
    return [line.split() for line in screen.getvalue().splitlines()]


def test_a_line_a_version() -> None:
    """The active one first; the rollout beside the version that it is about; a model without versions is there too."""
    head, active, candidate, empty = shown(SAMPLE)
    assert head[:3] == ["model", "version", "role"]
    figures = ["95%", "1,234.5", "1.50", "2.25", "10.12", "0.25", "7", "47.0", "MB"]
    assert active == ["digits", "2", "active", *figures]
    assert candidate[:6] == ["digits", "3", "candidate", "5%", "0.0", "-"]
    assert candidate[-2:] == ["progressing", "5%"]
    assert empty[:3] == ["empty", "-", "none"]


def test_a_promoted_version_has_the_rollout() -> None:
    """In its undo window it is the active one."""
    promoted = {"versions": {"3": BUSY, "2": QUIET}, "rollout": {"phase": "watching", "step": None}}
    _, active, standby = shown(SAMPLE | {"models": {"digits": promoted}})
    assert active[-1] == "watching"
    assert standby[-1] == "-"


def test_one_second_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    """Elsewhere than in a terminal one sample is shown, as a table or as the document."""
    with FakeControl({"GET /v1/events": (200, stream(SAMPLE, SAMPLE))}) as fake:
        assert run(["top", "--control", fake.url]) == 0
        assert "1,234.5" in capsys.readouterr().out
        assert run(["top", "-o", "json", "--control", fake.url]) == 0
        assert fake.seen[0].path == "/v1/events?types=sample"
    assert json.loads(capsys.readouterr().out) == SAMPLE


def test_a_server_that_goes_away_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last picture stays, with its age; what was never there is an error."""
    monkeypatch.setattr(top, "_AGAIN_S", 0.0)
    with FakeControl({"GET /v1/events": (200, stream(SAMPLE))}) as fake:
        seen = top._followed(ControlClient(fake.url))
        assert next(seen) == (SAMPLE, 0.0)
        sample, silent_s = next(seen)
        assert (sample, silent_s > 0) == (SAMPLE, True)
        assert next(seen) == (SAMPLE, 0.0)
    assert next(seen)[0] == SAMPLE
    with pytest.raises(ChangeoverError):
        next(top._followed(ControlClient(fake.url)))
    assert issubclass(Unreachable, ChangeoverError)


def test_a_server_that_ends_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Before its first second is over there is nothing to show, and a sentence says so."""
    with FakeControl({"GET /v1/events": (200, stream())}) as fake:
        assert run(["top", "--control", fake.url]) == 2
    assert "[control_unreachable]" in capsys.readouterr().err


def test_silence_is_said() -> None:
    """From two seconds on."""
    assert "no answer from the server for 5 s" in " ".join(word for line in shown(SAMPLE, 5.0) for word in line)
    assert "no answer" not in " ".join(word for line in shown(SAMPLE, 1.0) for word in line)
