"""Reports over time: nothing recent is lost, and old ones take little room."""

from __future__ import annotations

from dataclasses import dataclass

from changeover.controller.series import Series, Thinning

KEPT = Thinning(fine_ns=10, coarse_ns=5, kept_ns=50)


@dataclass(frozen=True)
class Point:
    at_ns: int


def filled(*times: int) -> Series[Point]:
    """A series of reports at these times."""
    series = Series[Point](KEPT)
    for time in times:
        series.add(Point(time))
    return series


def test_the_reports_before_two_moments_are_found() -> None:
    """The last at or before each; none where there was none."""
    series = filled(3, 5, 9)
    assert series.between(4, 5) == (Point(3), Point(5))
    assert series.between(2, 100) == (None, Point(9))
    assert series.between(0, 1) == (None, None)


def test_older_reports_are_thinned() -> None:
    """All of the last ten, one in five of those before, and nothing older than fifty but the one that ends there."""
    series = filled(*range(200))
    times = [p.at_ns for p in (*series.old, *series.recent)]
    assert times[-11:] == list(range(189, 200))
    assert len(times) < 25
    assert times[0] <= 149 <= times[1]
    assert (series.first, series.last) == (Point(times[0]), Point(199))


def test_the_last_report_stays() -> None:
    """However long ago it was."""
    series = filled(1)
    series.thin(10**6)
    assert series.last == Point(1)


def test_the_last_report_before_a_moment_is_found_among_the_thinned_ones_too() -> None:
    """None where all are younger."""
    series = filled(*range(200))
    assert series.before(195) == Point(195)
    old = series.old[1].at_ns
    assert series.before(old) == Point(old)
    assert filled(5).before(4) is None
