"""The demo's rows."""

from __future__ import annotations

from typing import Any

import pytest

from changeover.cli.demo_view import DemoView

SECOND: dict[str, Any] = {
    "elapsed_s": 4.02,
    "per_second": 400,
    "p50_ms": 0.5,
    "p99_ms": None,
    "versions": {"1": 150, "2": 230, "4": 20},
    "failed": 1,
    "shed": 0,
    "wrong": 2,
    "wrong_version": 3,
}


def test_a_row_has_the_events_of_its_second(capsys: pytest.CaptureFixture[str]) -> None:
    """Outside a terminal each second is one line, and an event stands in the line of its second only."""
    with DemoView() as view:
        view.event("push of version 2")
        view.progress(SECOND)
        view.progress(SECOND)
    head, first, second = capsys.readouterr().err.splitlines()
    assert head.split()[:2] == ["time", "answers/s"]
    assert first.split()[:10] == ["4", "s", "400", "0.50", "-", "150", "230", "20", "1", "5"]
    assert first.endswith("push of version 2")
    assert "push" not in second


def test_the_table_of_a_terminal() -> None:
    """In a terminal the latest twenty seconds are one table, with what has just happened below."""
    view = DemoView()
    for _ in range(30):
        view.progress(SECOND)
    view.event("version 2 serves")
    assert view._table().row_count == 21
