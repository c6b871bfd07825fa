"""The picture of a model's optimisation: its graph at each level, one colour for what ends as one node. Pure.

A node stands beside those of the model that it is made of, as tall as all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

from changeover.workbench import drawing
from changeover.workbench.drawing import DIM, cut, said
from changeover.workbench.fusion import Made, Rewritten
from changeover.workbench.layout import Place, places

Document = dict[str, Any]
_WIDE, _TALL, _GAP, _ASIDE, _BETWEEN, _TOP, _EDGE = 150, 34, 26, 14, 36, 96, 20
"""Width and height of a node, room below and beside it, between levels, above them, round all."""
_MOST: Final = 400
"""Nodes of the model that are drawn; of a larger one only the beginning."""
_COLOURS: Final = ("#9ecae9", "#f7b6a1", "#b5d99c", "#d4b9e8", "#fbd37a", "#99d8c9", "#f4a6c6", "#c7c3a4")
_WORDS: Final = (
    "one colour: ends as one node · heavy frame: fused or replaced at this level",
    "rounded: lays data out in blocks, or back · dashed: folded into a constant, or removed",
)
_PLAIN, _LINE, _LAYOUT = "#f1f3f5", "#5c677d", "#ffffff"


@dataclass(frozen=True, slots=True)
class Box:
    """A node as it is drawn: its left upper corner within its level, and its size."""

    made: Made
    x: float
    y: float
    height: float
    wide: float = _WIDE

    @property
    def middle(self) -> float:
        """Where edges begin and end."""
        return self.x + self.wide / 2


def picture(document: Document, graphs: Sequence[Rewritten]) -> str:
    """An SVG of all levels.

    Args:
        document: as `microscope.look` gives it.
        graphs: in its order; the first is the model without optimisation.
    """
    first = graphs[0].nodes[:_MOST]
    stand = places({node.name: node.after for node in first})
    model = {name: stand[node.name] for node in first for name in node.of}
    colours = _colours(graphs[-1])
    lanes = max((place.lane for place in stand.values()), default=0) + 1
    rows = max((place.row for place in stand.values()), default=0) + 1
    column = lanes * (_WIDE + _ASIDE) - _ASIDE
    width = 2 * _EDGE + len(graphs) * column + (len(graphs) - 1) * _BETWEEN
    height = _TOP + rows * (_TALL + _GAP) + _EDGE + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for at, (level, graph) in enumerate(zip(document["levels"], graphs, strict=True)):
        left = _EDGE + at * (column + _BETWEEN)
        parts += [f'<g transform="translate({left} 0)">', *_head(level, document["batches"])]
        parts += [f'<g transform="translate(0 {_TOP})">', *_level(graph, model, colours, graphs[0]), "</g></g>"]
    parts += [*_legend(height - _EDGE), "</svg>"]
    return "\n".join(parts)


def _colours(last: Rewritten) -> dict[str, str]:
    """A colour for each node of the model that ends together with others."""
    fused = [node for node in last.nodes if node.kind == "fused"]
    return {name: _COLOURS[at % len(_COLOURS)] for at, node in enumerate(fused) for name in node.of}


def _head(level: Document, batches: Sequence[int]) -> Iterator[str]:
    yield said(0, 24, level["level"], 18, bold=True)
    yield said(0, 44, f"{level['nodes']} nodes", 13, fill=DIM)
    times = [f"{level['latency_us'][str(size)]['p50']:,.0f} µs" for size in batches]
    yield said(0, 62, f"p50 {', '.join(times)} at {', '.join(map(str, batches))}", 12, fill=DIM)
    differs = f"differs by {_apart(level, '.2g')}"
    yield said(0, 80, "as it was trained" if level["level"] == "off" else differs, 12, fill=DIM)


def _apart(level: Document, form: str = "") -> str:
    """The largest difference, which is no number where the answers are none."""
    apart = level["difference"]["max_abs"]
    return "infinity" if apart is None else format(apart, form)


def _level(graph: Rewritten, model: Mapping[str, Place], colours: Mapping[str, str], plain: Rewritten) -> Iterator[str]:
    boxes = _boxes(graph, model)
    for box in boxes.values():
        for name in box.made.after:
            if name in boxes:
                yield _edge(boxes[name], box)
    operators = {name: node.operator for node in plain.nodes for name in node.of}
    for box in boxes.values():
        yield from _drawn(box, colours, operators)
    gone = {**dict.fromkeys(graph.folded, "folded"), **dict.fromkeys(graph.removed, "removed")}
    for name, kind in gone.items():
        if name in model:
            yield from _gone(model[name], operators.get(name, name), kind)


def _boxes(graph: Rewritten, model: Mapping[str, Place]) -> dict[str, Box]:
    """What stands for nodes of the model, beside them; what is new, below what it follows."""
    found: dict[str, Box] = {}
    crowd: dict[tuple[float, float], int] = {}
    for made in graph.nodes:
        stands = [model[name] for name in made.of if name in model]
        if stands:
            lane, rows = stands[-1].lane, [place.row for place in stands]
            top, bottom = (row * (_TALL + _GAP) for row in (min(rows), max(rows)))
            found[made.name] = Box(made, lane * (_WIDE + _ASIDE), top, bottom - top + _TALL)
        elif made.kind in ("layout", "new"):
            before = next((found[name] for name in made.after if name in found), None)
            x, y = (before.x, before.y + before.height + 4) if before else (0.0, -_GAP + 4.0)
            count = crowd[x, y] = crowd.get((x, y), -1) + 1
            found[made.name] = Box(made, x + 12 + count * 70, y, _GAP - 8, _WIDE - 24 if not count else 64)
    return found


def _edge(above: Box, below: Box) -> str:
    x1, y1, x2, y2 = above.middle, above.y + above.height, below.middle, below.y
    if y2 < y1:
        y2 = below.y + below.height / 2
    bend = (y1 + y2) / 2
    path = f"M{x1:g} {y1:g} C{x1:g} {bend:g} {x2:g} {bend:g} {x2:g} {y2:g}"
    return f'<path d="{path}" fill="none" stroke="{_LINE}" stroke-width="1.2"/>'


def _drawn(box: Box, colours: Mapping[str, str], operators: Mapping[str, str]) -> Iterator[str]:
    made = box.made
    layout = made.kind in ("layout", "new")
    fill = _LAYOUT if layout else colours.get(made.of[0] if made.of else "", _PLAIN)
    stroke = "#7b5ea7" if layout else _LINE
    heavy = 1.8 if made.kind in ("fused", "replaced") else 1
    told = ", ".join(operators.get(name, name) for name in made.of)
    yield (
        f"<g><title>{escape(f'{made.operator} ({made.kind}): {told}')}</title>"
        f'<rect x="{box.x:g}" y="{box.y:g}" width="{box.wide:g}" height="{box.height:g}" rx="{9 if layout else 5}" '
        f'fill="{fill}" stroke="{stroke}" stroke-width="{heavy}"/></g>'
    )
    domain, _, name = made.operator.rpartition(".")
    middle = box.y + box.height / 2
    if layout:
        yield said(box.middle, middle + 3.5, name, 10 if box.wide > 70 else 8, anchor="middle", fill="#7b5ea7")
        return
    under = " + ".join(operators.get(one, one).rpartition(".")[2] for one in made.of) if len(made.of) > 1 else ""
    blocked = " (blocked)" if domain.endswith("nchwc") else ""
    lines = [(f"{name}{blocked}", 13, True)] + ([(cut(under, 26), 10.5, False)] if under else [])
    for at, (text, size, bold) in enumerate(lines):
        y = middle + 4.5 + (at - (len(lines) - 1) / 2) * 15
        yield said(box.middle, y, text, size, bold=bold, anchor="middle")


def _gone(place: Place, operator: str, kind: str) -> Iterator[str]:
    x, y = place.lane * (_WIDE + _ASIDE), place.row * (_TALL + _GAP)
    yield (
        f'<rect x="{x}" y="{y}" width="{_WIDE}" height="{_TALL}" rx="5" fill="none" stroke="#adb5bd" '
        'stroke-width="1" stroke-dasharray="4 3"/>'
    )
    yield said(x + _WIDE / 2, y + _TALL / 2 + 4, f"{operator}: {kind}", 11, anchor="middle", fill="#868e96")


def _legend(y: float) -> Iterator[str]:
    for at, line in enumerate(_WORDS):
        yield said(_EDGE, y + 15 * (at - 1), line, 11, fill=DIM)


def page(document: Document, svg: str) -> str:
    """The picture with its figures as an HTML page that needs nothing else."""
    rows = "".join(_row(level, document["batches"]) for level in document["levels"])
    head = "".join(f"<th>p50 / p99 at {size}</th>" for size in document["batches"])
    return drawing.page(
        f"What optimisation makes of {document['model']}",
        f"<table><tr><th>level</th><th>nodes</th>{head}<th>load</th>"
        f"<th>memory</th><th>largest difference</th><th>operators</th></tr>{rows}</table>"
        f'<div class="wide">{svg}</div>',
    )


def _row(level: Document, batches: Sequence[int]) -> str:
    times = "".join(
        f"<td>{level['latency_us'][str(size)]['p50']:,.0f} / {level['latency_us'][str(size)]['p99']:,.0f} µs</td>"
        for size in batches
    )
    memory = level["memory_bytes"]
    told = "-" if memory is None else f"{memory / 1e6:.1f} MB"
    operators = escape(", ".join(f"{name} {count}" for name, count in level["operators"].items()))
    return (
        f"<tr><td>{level['level']}</td><td>{level['nodes']}</td>{times}<td>{level['load_ms']:.1f} ms</td>"
        f"<td>{told}</td><td>{_apart(level)}</td><td>{operators}</td></tr>"
    )
