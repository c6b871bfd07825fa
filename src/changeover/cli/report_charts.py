"""Charts of a rollout's report as inline SVG: bars beside each other, and intervals against a limit. Pure."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

_WIDTH, _LABEL, _VALUE = 960, 190, 150
_ROW = 26
_BAR = 14


@dataclass(frozen=True, slots=True)
class Bar:
    """A value with its words; `line` is the colour's number, 1 to 6."""

    label: str
    value: float
    text: str
    line: int = 1


@dataclass(frozen=True, slots=True)
class Interval:
    """What a test has found: between `low` and `high`, and what is allowed; `colour` is one of the page's."""

    label: str
    low: float
    high: float
    limit: float
    text: str
    colour: str


def bars(title: str, values: Sequence[Bar]) -> str:
    """Bars under each other, all on one scale."""
    most = max((bar.value for bar in values), default=0.0) or 1.0
    parts = []
    for row, bar in enumerate(values):
        y, width = row * _ROW, bar.value / most * _room()
        rect = f'<rect x="{_LABEL}" y="{y + 5}" width="{width:.1f}" height="{_BAR}" rx="2"'
        parts.append(_label(bar.label, y))
        parts.append(f'{rect} style="fill: var(--line-{bar.line})"/>')
        parts.append(_value(bar.text, y, _LABEL + width + 8))
    return _svg(title, len(values), parts)


def intervals(title: str, values: Sequence[Interval]) -> str:
    """Each on a scale of its own, on which its limit stands at the same place: what crosses the line is too much."""
    parts = []
    line = _LABEL + _room() * 0.6
    for row, found in enumerate(values):
        y, scale = row * _ROW, (line - _LABEL) / found.limit if found.limit > 0 else 0.0
        left, right = (min(_LABEL + max(end, 0.0) * scale, _LABEL + _room()) for end in (found.low, found.high))
        rect = f'<rect x="{left:.1f}" y="{y + 5}" width="{max(right - left, 3):.1f}" height="{_BAR}" rx="2"'
        parts.append(_label(found.label, y))
        parts.append(f'{rect} style="fill: var({found.colour})"><title>{html.escape(found.text)}</title></rect>')
        parts.append(_value(found.text, y, _LABEL + _room() + 8))
    foot = len(values) * _ROW
    parts.append(f'<line class="kill" x1="{line:.1f}" x2="{line:.1f}" y1="0" y2="{foot}"/>')
    parts.append(f'<text class="axis" x="{line:.1f}" y="{foot + 14}" text-anchor="middle">limit</text>')
    return _svg(title, len(values) + 1, parts)


def _room() -> float:
    return float(_WIDTH - _LABEL - _VALUE)


def _label(text: str, y: float) -> str:
    return f'<text class="axis" x="{_LABEL - 10}" y="{y + 16}" text-anchor="end">{html.escape(text)}</text>'


def _value(text: str, y: float, x: float) -> str:
    return f'<text class="axis" x="{x:.1f}" y="{y + 16}">{html.escape(text)}</text>'


def _svg(title: str, rows: int, parts: Sequence[str]) -> str:
    body = "\n".join(parts)
    height = max(rows, 1) * _ROW
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{html.escape(title)}">\n{body}\n</svg>'
