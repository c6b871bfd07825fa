"""`changeover model optimize MODEL`: what ONNX Runtime makes of a model at each level, with a picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from changeover.cli.exits import Exit
from changeover.cli.options import Output, grouped
from changeover.cli.output import Format, say, show, size, table

Document = dict[str, Any]
_KINDS: Final = {"fused": "green", "replaced": "cyan", "layout": "magenta", "new": "magenta"}
_LEVELS: Final = "off,basic,extended,all"


@dataclass(frozen=True, slots=True)
class Looking:
    """How closely is looked."""

    levels: Annotated[str, typer.Option(metavar="LIST", help="Levels of optimisation, separated by commas.")] = _LEVELS
    max_batch: Annotated[int, typer.Option(min=1, max=65536, help="Rows of the larger run.")] = 32
    threads: Annotated[int, typer.Option(min=1, max=256, help="Threads of a run.")] = 1
    seconds: Annotated[float, typer.Option(min=0, help="Of measuring, for each batch size.")] = 2.0


@grouped
def optimize(
    path: Annotated[str, typer.Argument(metavar="MODEL", help="Model file, or folder of a version.")],
    looking: Looking,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the graphs side by side: .svg, or .html with the figures.")
    ] = None,
    output: Output = Format.TABLE,
) -> int:
    """Show what ONNX Runtime's optimisation makes of a model, level by level, and what it buys. Needs no server.

    For example:

        changeover model optimize models/mnist/1 --picture mnist.svg

        changeover model optimize model.onnx --levels off,all --max-batch 8 -o json
    """
    from changeover.workbench.described import model_path
    from changeover.workbench.microscope import Wish, checked_levels, look
    from changeover.workbench.picture import page
    from changeover.workbench.picture import picture as drawn

    wish = Wish(checked_levels(looking.levels), looking.max_batch, looking.threads, looking.seconds)
    document, graphs = look(model_path(path), wish)
    if picture is not None:
        svg = drawn(document, graphs)
        picture.write_text(page(document, svg) if picture.suffix == ".html" else svg, "utf-8")
        say(f"the picture is in {picture}")
    show(document, output, lambda: optimize_table(document))
    return Exit.DONE


def optimize_table(document: Document) -> RenderableType:
    """Return the levels side by side, then what became of which nodes."""
    made = table("level", "nodes", *_heads(document), "load", "memory", "largest difference")
    for level in document["levels"]:
        times = [_time(level["latency_us"][str(rows)]) for rows in document["batches"]]
        apart = level["difference"]["max_abs"]
        made.add_row(
            level["level"], str(level["nodes"]), *times, f"{level['load_ms']:.1f} ms", size(level["memory_bytes"]),
            "-" if level["level"] == "off" else str(apart) if apart is not None else "infinity",
        )  # fmt: skip
    parts: list[RenderableType] = [made, "", _operators(document)]
    for level in document["levels"]:
        parts += _rewrites(level)
    return Group(*parts)


def _heads(document: Document) -> list[str]:
    return [f"p50 / p99 at {rows}" for rows in document["batches"]]


def _time(told: Document) -> str:
    return f"{told['p50']:,.1f} / {told['p99']:,.1f} µs"


def _operators(document: Document) -> RenderableType:
    names = dict.fromkeys(name for level in document["levels"] for name in level["operators"])
    made = table("operator", *(level["level"] for level in document["levels"]))
    for name in names:
        counts = [level["operators"].get(name, 0) for level in document["levels"]]
        style = "" if len(set(counts)) == 1 else "yellow"
        made.add_row(Text(name, style), *(str(count or "-") for count in counts))
    return made


def _rewrites(level: Document) -> Iterator[RenderableType]:
    lines: dict[str, tuple[int, str]] = {}
    for one in level["rewrites"]:
        told = f"{' + '.join(one['of'])} → {one['into']}" if one["of"] else f"{one['into']} ({one['kind']})"
        lines[told] = (lines.get(told, (0, ""))[0] + 1, _KINDS[one["kind"]])
    for kind in ("folded", "removed"):
        if level[kind]:
            names = ", ".join(level[kind][:6]) + (" …" if len(level[kind]) > 6 else "")
            lines[f"{kind}: {names}"] = (1, "dim")
    if lines:
        yield ""
        yield Text(level["level"], "bold")
        for told, (count, style) in lines.items():
            yield Text(f"  {told}{f'   {count} times' if count > 1 else ''}", style)
