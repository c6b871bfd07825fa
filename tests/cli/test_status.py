"""What `changeover status` says of workers that died."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.console import Console, RenderableType

from changeover.cli.status import models_table, versions_table


def shown(worker: dict[str, Any] | None) -> str:
    """The table of one version with this worker."""
    version: dict[str, Any] = {"name": "1@ab12", "role": "active", "state": "ready", "worker": worker}
    return printed(versions_table([version]))


def printed(made: RenderableType) -> str:
    """Its words."""
    screen = StringIO()
    Console(width=200, file=screen).print(made)
    return " ".join(screen.getvalue().split())


@pytest.mark.parametrize(
    ("circuit", "pid", "words"),
    [
        ("open", None, "- - crash loop, circuit open: 5 deaths, last: crashed (signal 11); next try in 7.5 s"),
        ("half_open", 4711, "crash loop, circuit half_open: 5 deaths, last: crashed (signal 11); one is tried now"),
        ("closed", 4711, "replaced after: crashed (signal 11)"),
    ],
)
def test_a_crash_loop_says_so(circuit: str, pid: int | None, words: str) -> None:
    """How often, by what, and when the next one is tried."""
    worker = {
        "pid": pid,
        "rss_bytes": 0,
        "circuit": circuit,
        "deaths": 5,
        "last_death": {"cause": "crashed", "code": -11},
        "next_try": 7.5 if circuit == "open" else None,
    }
    assert words in shown(worker)


def test_what_lives_has_its_traffic() -> None:
    """Rate, p99 and errors of the last seconds, of each version and of a model's active one; dashes for the others."""
    told = {"requests_per_s": 1234.5, "errors_per_s": 0.25, "p99_ms": 10.125}
    here = {"name": "2@ab12", "role": "active", "state": "ready", "worker": None, "traffic": told}
    gone = {"name": "1@cd34", "role": "none", "state": "released", "worker": None, "traffic": None}
    words = printed(versions_table([here, gone]))
    assert "2@ab12 active ready - - 1,234.5 10.12 0.25" in words
    assert "1@cd34 none released - - - - -" in words
    model = {"name": "m", "state": "ready", "active": "2", "candidate": None, "standby": None, "epoch": 7}
    assert "m ready 2 - - 7 1,234.5 10.12 0.25 -" in printed(models_table([model | {"versions": [gone, here]}]))


@pytest.mark.parametrize(
    "worker", [None, {"pid": 1, "rss_bytes": 1, "circuit": "closed", "deaths": 0, "last_death": None}]
)
def test_nothing_is_said_where_nobody_died(worker: dict[str, Any] | None) -> None:
    """An empty column, not a reassurance."""
    assert "death" not in shown(worker)
    assert "replaced" not in shown(worker)
