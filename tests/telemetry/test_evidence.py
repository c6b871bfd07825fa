"""Evidence: what a window says without being told, and how rows become classes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.telemetry.evidence import Arm, Pairs, Window, batch_class


@given(st.integers(1, 1 << 20))
def test_a_class_is_the_next_power_of_two(rows: int) -> None:
    """No smaller than the rows, and less than twice as large."""
    found = batch_class(rows)
    assert rows <= found < 2 * rows
    assert found & (found - 1) == 0


def test_there_is_no_class_of_nothing() -> None:
    """A batch without rows is a mistake of whoever counts."""
    with pytest.raises(ValueError, match="0 rows"):
        batch_class(0)


def test_a_window_without_traffic_holds_nothing() -> None:
    """Both arms and the pairs are empty until something is counted."""
    window = Window((1, 1, 1), 1_000_000_000, 3_500_000_000, 100)
    assert window.active == window.candidate == Arm()
    assert window.pairs == Pairs()
    assert window.seconds == 2.5
    assert Window((1, 1, 1), 5, 4, 0).seconds == 0.0
