"""Bars and intervals as SVG."""

from __future__ import annotations

from xml.etree import ElementTree

from changeover.cli.report_charts import Bar, Interval, bars, intervals


def rects(svg: str) -> list[dict[str, str]]:
    """Attributes of what is drawn."""
    return [dict(e.attrib) for e in ElementTree.fromstring(svg).iter("rect")]  # noqa: S314 - our own


def test_bars_share_a_scale() -> None:
    """The longest is as long as there is room; words are escaped."""
    long, short = rects(bars("x", [Bar("a<b", 10.0, "10 ms"), Bar("c", 5.0, "5 ms", 2)]))
    assert float(long["width"]) == 2 * float(short["width"]) > 500
    assert short["style"] == "fill: var(--line-2)"
    assert rects(bars("none", [])) == []


def test_every_limit_stands_at_the_same_place() -> None:
    """What ends beyond it is too much, whatever its scale; what is far beyond ends with the chart."""
    within, beyond, far = rects(
        intervals(
            "x",
            [
                Interval("a", 0.0, 0.0005, 0.001, "", "--good"),
                Interval("b", 0.6, 0.8, 0.5, "", "--bad"),
                Interval("c", -1.0, 99.0, 0.5, "", "--bad"),
            ],
        )
    )
    line = 190 + 620 * 0.6
    assert float(within["x"]) + float(within["width"]) < line < float(beyond["x"])
    assert (float(far["x"]), float(far["width"])) == (190.0, 620.0)
    assert [r["style"] for r in (within, beyond)] == ["fill: var(--good)", "fill: var(--bad)"]
