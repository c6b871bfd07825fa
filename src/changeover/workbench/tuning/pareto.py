"""The picture of a tuning: memory against speed, and the front of the settings that none is better than. Pure.

Both axes are such that less is better, but for rows a second; a point is a setting, its colour the precision.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any, Final

from changeover.workbench import drawing
from changeover.workbench.drawing import DIM, TEXT, cut, said

Document = dict[str, Any]
_WIDE, _TALL = 860, 520
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 30, 74, 64
_COLOURS: Final = {"fp32": "#4c78a8", "int8_dynamic": "#e4572e", "int8_static": "#f2a541", "fp16": "#59a14f"}
_GRID: Final = "#e5e9ef"
_AXES: Final = {
    "latency": ("p50_us", "median run of one row, µs"),
    "p99": ("p99_us", "99th percentile of a run of one row, µs"),
    "throughput": ("rows_per_s", "rows a second, full batches"),
    "memory": ("p50_us", "median run of one row, µs"),
}


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Places of the points that no other is at least as good as in both; less is better. In order of the first."""
    order = sorted(range(len(points)), key=lambda at: points[at])
    found: list[int] = []
    best = math.inf
    for at in order:
        if points[at][1] < best:
            found.append(at)
            best = points[at][1]
    return found


def picture(document: Document) -> str:
    """An SVG of all settings that were measured.

    Args:
        document: as `report.document` gives it.
    """
    key, axis = _AXES[document["objective"]]
    shown = [one for one in document["settings"] if one[key] and one["memory_bytes"] and not one["reason"]]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDE}" height="{_TALL}" viewBox="0 0 {_WIDE} {_TALL}" '
        'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif">',
        f'<rect width="{_WIDE}" height="{_TALL}" fill="#ffffff"/>',
        said(_LEFT, 26, f"{len(shown)} settings, objective {document['objective']}", 17, bold=True),
        said(_LEFT, 46, cut(document["sentence"], 128), 12, fill=DIM),
    ]
    if shown:
        parts += _plot(document, shown, key, axis)
    return "\n".join([*parts, "</svg>"])


def _plot(document: Document, shown: Sequence[Document], key: str, axis: str) -> Iterator[str]:
    across = _Scale([one[key] for one in shown], _LEFT, _WIDE - _RIGHT)
    up = _Scale([one["memory_bytes"] / 1e6 for one in shown], _TALL - _BOTTOM, _TOP)
    for value in across.ticks:
        x = across(value)
        yield f'<path d="M{x:.1f} {_TOP}V{_TALL - _BOTTOM}" stroke="{_GRID}"/>'
        yield said(x, _TALL - _BOTTOM + 18, f"{value:,.6g}", 11, anchor="middle", fill=DIM)
    for value in up.ticks:
        y = up(value)
        yield f'<path d="M{_LEFT} {y:.1f}H{_WIDE - _RIGHT}" stroke="{_GRID}"/>'
        yield said(_LEFT - 8, y + 4, f"{value:,.6g}", 11, anchor="end", fill=DIM)
    yield said((_LEFT + _WIDE - _RIGHT) / 2, _TALL - _BOTTOM + 38, axis, 12, anchor="middle")
    middle = (_TOP + _TALL - _BOTTOM) / 2
    yield f'<g transform="rotate(-90 22 {middle})">{said(22, middle, "memory, MB", 12, anchor="middle")}</g>'
    sign = -1 if key == "rows_per_s" else 1
    best = front([(sign * one[key], one["memory_bytes"]) for one in shown])
    corners = " ".join(f"{across(shown[at][key]):.1f},{up(shown[at]['memory_bytes'] / 1e6):.1f}" for at in best)
    yield f'<polyline points="{corners}" fill="none" stroke="{DIM}" stroke-width="1.4" stroke-dasharray="5 4"/>'
    for one in shown:
        yield _point(document, one, across(one[key]), up(one["memory_bytes"] / 1e6), key)
    yield from _legend(shown)


def _point(document: Document, one: Document, x: float, y: float, key: str) -> str:
    default, answer = one["name"] == document["default"]["name"], one["name"] == document["answer"]["name"]
    told = f"{one['name']}: {one[key]:,.5g}, {one['memory_bytes'] / 1e6:.1f} MB, {one['ratio']} x the default"
    ring = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="9" fill="none" stroke="{TEXT}" stroke-width="1.8"/>'
    words = [word for word, wanted in (("default", default), ("answer", answer)) if wanted]
    at_edge = x > _WIDE - 140
    label = said(x + (-13 if at_edge else 13), y - 6, " = ".join(words), 12, bold=True,
                  anchor="end" if at_edge else "start") if words else ""  # fmt: skip
    return (
        f'<g><title>{escape(told)}</title><circle cx="{x:.1f}" cy="{y:.1f}" r="5" '
        f'fill="{_COLOURS.get(one["precision"], DIM)}" fill-opacity="0.8"/>{ring if words else ""}{label}</g>'
    )


def _legend(shown: Sequence[Document]) -> Iterator[str]:
    x = float(_LEFT)
    for name in dict.fromkeys(one["precision"] for one in shown):
        yield f'<circle cx="{x + 5:.1f}" cy="60" r="5" fill="{_COLOURS.get(name, DIM)}"/>'
        yield said(x + 15, 64, name, 12)
        x += 30 + 7.5 * len(name)
    yield said(x + 10, 64, "dashed: nothing is better in both", 12, fill=DIM)


class _Scale:
    """Numbers to places on the picture, in logarithms."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        low, high = math.log10(min(values)), math.log10(max(values))
        room = max((high - low) * 0.06, 0.02)
        self._low, self._high = low - room, high + room
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        share = (math.log10(value) - self._low) / (self._high - self._low)
        return self._start + share * (self._end - self._start)

    @property
    def ticks(self) -> list[float]:
        """Round numbers inside, some three to eight."""
        steps: tuple[tuple[float, ...], ...] = ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8))
        found: list[float] = []
        for parts in steps:
            powers = range(math.floor(self._low), math.ceil(self._high) + 1)
            found = [n * 10.0**p for p in powers for n in parts if self._low <= math.log10(n * 10.0**p) <= self._high]
            if len(found) >= 3:
                return found
        between = [10 ** (self._low + (self._high - self._low) * at / 4) for at in range(5)]
        return found if len(found) > 1 else [float(f"{value:.3g}") for value in between][1:-1]


def page(document: Document, svg: str) -> str:
    """The picture with the table of all settings, as an HTML page that needs nothing else."""
    rows = "".join(_row(one) for one in document["settings"])
    return drawing.page(
        f"Settings of {document['model']}",
        f"<p>{escape(document['sentence'])}</p>{svg}<table><tr><th>setting</th>"
        "<th>of the default</th><th>p50</th><th>p99</th><th>rows/s</th><th>memory</th><th></th></tr>"
        f"{rows}</table>",
    )


def _row(one: Document) -> str:
    told = [one["ratio"], one["p50_us"], one["p99_us"], one["rows_per_s"], one["memory_bytes"]]
    cells = "".join(f"<td>{'-' if value is None else f'{value:,.5g}'}</td>" for value in told)
    return f"<tr><td>{escape(one['name'])}</td>{cells}<td>{escape(one['reason'] or '')}</td></tr>"
