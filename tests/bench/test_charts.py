"""Charts: what they draw, and where."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from changeover.bench.charts import Chart, Mark, svg, thinned, ticks


def drawn(chart: Chart) -> ET.Element:
    """The chart parsed as XML, without its legend."""
    return ET.fromstring(svg(chart).partition("</svg>")[0] + "</svg>")  # noqa: S314 - our own text


def path(chart: Chart, number: int = 0) -> list[tuple[float, float]]:
    """The points of a line, in the chart's own units."""
    lines = [e for e in drawn(chart).iter("path") if e.get("class") == "line"]
    return [(float(x), float(y)) for x, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", lines[number].get("d", ""))]


def test_thinning_keeps_every_peak() -> None:
    """Of 10,000 points at most 480 are drawn, and the one that stands out is among them."""
    points = [(float(i), 900.0 if i == 5003 else 1.0) for i in range(10_000)]
    kept = thinned(points)
    assert len(kept) <= 480
    assert (5003.0, 900.0) in kept
    assert thinned([]) == []


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 10, [0, 2, 4, 6, 8, 10]), (0, 0.9, [0, 0.2, 0.4, 0.6, 0.8]), (0, 28_000, [0, 10_000, 20_000]), (3, 3, [3])],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    """The numbers of an axis are round ones inside its ends."""
    assert ticks(low, high) == expected


def test_larger_values_are_higher_and_later_ones_further_right() -> None:
    """A line goes the way its values go, on either axis."""
    for logarithmic in (False, True):
        points = path(Chart("t", "ms", {"a": [(0, 1), (5, 10), (10, 1000)]}, logarithmic=logarithmic))
        assert [x for x, _ in points] == sorted(x for x, _ in points)
        assert [y for _, y in points] == sorted((y for _, y in points), reverse=True)


def test_a_logarithmic_axis_gives_each_power_the_same_room() -> None:
    """From 1 to 10 is as far as from 10 to 100."""
    (_, a), (_, b), (_, c) = path(Chart("t", "ms", {"a": [(0, 1), (1, 10), (2, 100)]}, logarithmic=True))
    assert a - b == pytest.approx(b - c, abs=0.2)


def test_two_charts_share_a_time_axis() -> None:
    """With `until` a moment is at the same place whatever the lines are."""
    short = path(Chart("t", "", {"a": [(0, 1), (50, 1)]}, until=100))
    long = path(Chart("t", "", {"a": [(0, 1), (50, 1), (100, 1)]}, until=100))
    assert short[1][0] == long[1][0]


def test_marks_say_what_happened() -> None:
    """A labelled mark is a line with its letter and sentence; all others together are one path of ticks."""
    chart = Chart("t", "", {"a": [(0, 1), (9, 2)]}, [Mark(3, "gateway <7> killed", "G"), Mark(4, "v2"), Mark(5, "v3")])
    element = drawn(chart)
    assert [t.text for t in element.iter("title")] == ["gateway <7> killed", "a"]
    (rug,) = [e for e in element.iter("path") if e.get("class") == "tick"]
    assert rug.get("d", "").count("M") == 2


def test_nothing_to_draw_is_drawn() -> None:
    """A run that ended at once still has a page."""
    for logarithmic in (False, True):
        assert drawn(Chart("t", "", {"a": [], "b": [(0.0, 0.0)]}, logarithmic=logarithmic)) is not None
