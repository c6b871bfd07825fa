"""Charts as inline SVG: lines over time, with marks for what happened. Pure: numbers in, text out.

Colours are CSS variables of the page that shows them (`--line-1` and so on), so that they suit its light and dark.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Point = tuple[float, float]

_WIDTH, _HEIGHT = 960, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 12, 40
_MOST_POINTS = 480
_RUG = 6  # height of a tick mark at the foot of a chart


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at a moment; one with a `label` is drawn as a line across the chart."""

    x: float
    title: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines over time.

    Attributes:
        unit: of the values, for the axis.
        lines: points by name; x in seconds, in rising order. At most six.
        marks: shared by all lines.
        until: where the time axis ends, when it is to be that of other charts.
        logarithmic: values above 0 on a logarithmic axis.
    """

    title: str
    unit: str
    lines: Mapping[str, Sequence[Point]]
    marks: Sequence[Mark] = ()
    until: float = 0.0
    logarithmic: bool = False


def thinned(points: Sequence[Point], most: int = _MOST_POINTS) -> list[Point]:
    """At most `most` points, each the highest of its stretch: a peak is never lost."""
    step = math.ceil(len(points) / most) if points else 1
    return [max(points[i : i + step], key=lambda point: point[1]) for i in range(0, len(points), step)]


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers from `low` to `high`, about so many."""
    if high <= low:
        return [low]
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 10) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def svg(chart: Chart) -> str:
    """The chart as an `<svg>` element with its legend."""
    drawing = _Drawing(chart)
    parts = [*drawing.axes(), *drawing.marks(), *drawing.lines()]
    body = "\n".join(parts)
    name = html.escape(chart.title)
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{name}">\n{body}\n</svg>{_legend(chart)}'


class _Drawing:
    """The scales of one chart, and its parts drawn by them."""

    def __init__(self, chart: Chart) -> None:
        self._chart = chart
        self._lines = {name: thinned(points) for name, points in chart.lines.items()}
        xs = [x for points in self._lines.values() for x, _ in points] + [mark.x for mark in chart.marks]
        ys = [y for points in self._lines.values() for _, y in points if y > 0 or not chart.logarithmic]
        self._until = chart.until or max(xs, default=1.0) or 1.0
        self._low, self._high = self._bounds(ys)

    def _bounds(self, ys: Sequence[float]) -> tuple[float, float]:
        if not self._chart.logarithmic:
            return 0.0, max(ys, default=1.0) * 1.05 or 1.0
        low, high = min(ys, default=1.0), max(ys, default=10.0)
        return 10.0 ** math.floor(math.log10(low)), 10.0 ** max(math.ceil(math.log10(high)), math.log10(low) + 1)

    def _x(self, x: float) -> float:
        return round(_LEFT + min(x / self._until, 1.0) * (_WIDTH - _LEFT - _RIGHT), 1)

    def _y(self, y: float) -> float:
        if self._chart.logarithmic:
            share = math.log(max(y, self._low) / self._low) / math.log(self._high / self._low)
        else:
            share = (y - self._low) / (self._high - self._low)
        return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM), 1)

    def _levels(self) -> list[float]:
        if not self._chart.logarithmic:
            return ticks(self._low, self._high)
        powers = range(round(math.log10(self._low)), math.floor(math.log10(self._high) + 1e-9) + 1)
        return [10.0**power for power in powers]

    def axes(self) -> list[str]:
        """Grid lines with their numbers."""
        parts = []
        for level in self._levels():
            y = self._y(level)
            parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>')
            parts.append(f'<text class="axis" x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">{level:,.10g}</text>')
        foot = _HEIGHT - _BOTTOM
        unit, divisor = ("min", 60.0) if self._until > 300 else ("s", 1.0)
        for second in ticks(0, self._until / divisor, 10):
            x = self._x(second * divisor)
            anchor = "end" if x > _WIDTH - 2 * _RIGHT else "middle"
            parts.append(f'<text class="axis" x="{x}" y="{foot + 24}" text-anchor="{anchor}">{second:g} {unit}</text>')
        return parts

    def marks(self) -> list[str]:
        """Ticks at the foot for marks without a label, lines with a letter for the others."""
        foot = _HEIGHT - _BOTTOM
        at = sorted({self._x(mark.x) for mark in self._chart.marks if not mark.label})
        parts = [f'<path class="tick" d="{"".join(f"M{x} {foot}v{_RUG}" for x in at)}"/>'] if at else []
        for mark in self._chart.marks:
            if not mark.label:
                continue
            x, title = self._x(mark.x), f"<title>{html.escape(mark.title)}</title>"
            text = f'<text class="mark" x="{x + 3}" y="{_TOP + 9}">{html.escape(mark.label)}</text>'
            line = f'<line class="kill" x1="{x}" x2="{x}" y1="{_TOP}" y2="{foot}"/>'
            parts.append(f"<g>{title}{line}{text}</g>")
        return parts

    def lines(self) -> list[str]:
        """One path a line."""
        parts = []
        for number, (name, points) in enumerate(self._lines.items(), 1):
            path = " ".join(f"{'L' if i else 'M'}{self._x(x)} {self._y(y)}" for i, (x, y) in enumerate(points))
            title = f"<title>{html.escape(name)}</title>"
            parts.append(f'<path class="line" style="stroke: var(--line-{number})" d="{path}">{title}</path>')
        return parts


def _legend(chart: Chart) -> str:
    swatch = '<span><i style="background: var(--line-{})"></i>{}</span>'
    entries = [swatch.format(number, html.escape(name)) for number, name in enumerate(chart.lines, 1)]
    return f'<p class="legend">{"".join(entries)}<span class="unit">{html.escape(chart.unit)}</span></p>'
