"""Wall-clock time as text, for records that people read.

Durations come from `time.monotonic` or `time.perf_counter`; only one that outlives a process is told by these.
"""

from __future__ import annotations

from datetime import UTC, datetime


def utc_now() -> str:
    """The present moment as RFC 3339 text in UTC, with microseconds: `2026-01-31T12:00:00.000000Z`.

    Texts of this form sort as the moments they stand for.
    """
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seconds_since(moment: str) -> float:
    """Seconds between a recorded moment and now; somebody may have set the clock meanwhile."""
    return (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()
