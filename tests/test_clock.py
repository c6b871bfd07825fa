"""Times as text: sortable, UTC, readable back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from changeover.clock import seconds_since, utc_now


def test_texts_sort_as_their_moments_and_read_back() -> None:
    """Two texts in a row are in order, and are moments of this second in UTC."""
    first, second = utc_now(), utc_now()
    assert first <= second
    read = datetime.fromisoformat(first)
    assert read.tzinfo == UTC
    assert abs((datetime.now(UTC) - read).total_seconds()) < 60
    assert len(first) == len("2026-01-31T12:00:00.000000Z")


def test_seconds_since_a_recorded_moment() -> None:
    """Of what is to come they are negative."""
    assert 0 <= seconds_since(utc_now()) < 60
    assert -3600 <= seconds_since((datetime.now(UTC) + timedelta(hours=1)).isoformat()) < -3500
