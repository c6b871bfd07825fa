"""`changeover model diff OLD NEW`: two model files side by side, and the `interface` steps between them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final

import typer
import yaml
from rich.console import Group, RenderableType
from rich.text import Text

from changeover.cli.exits import Exit
from changeover.cli.options import Output
from changeover.cli.output import Format, pairs, show, size, table

Document = dict[str, Any]
_MOST: Final = 20
"""Parameters that are listed; the others are counted."""


def diff(
    old: Annotated[str, typer.Argument(metavar="OLD", help="Model file, or folder of a version, that clients know.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The one that is to take over.")],
    output: Output = Format.TABLE,
) -> int:
    """Compare two model files, and propose the `interface` that lets clients of OLD use NEW. Needs no server.

    Exits with 1 when clients of OLD cannot use NEW as it is.

    For example:

        changeover model diff models/mnist/1 models/mnist/2

        changeover model diff old.onnx new.onnx -o json
    """
    from changeover.workbench.difference import compare

    document = compare(old, new)
    show(document, output, lambda: diff_table(document))
    return Exit.DONE if document["compatible"] else Exit.REFUSED


def diff_table(document: Document) -> RenderableType:
    """Return the comparison as people read it."""
    parts: list[RenderableType] = [_summary(document), ""]
    parts += [_ports(document), ""]
    rows = list(_changes(document))
    if rows:
        made = table("what", "old", "new")
        for what, before, after in rows:
            made.add_row(what, _value(before, "red"), _value(after, "green"))
        parts += [made, ""]
    parts += [*_parameters(document["parameters"]), ""]
    parts += list(_interface(document))
    return Group(*parts)


def _summary(document: Document) -> RenderableType:
    old, new = document["old"], document["new"]
    made = table("", "old", "new")
    for name, form in (
        ("path", str), ("sha256", lambda text: text[:16]), ("bytes", size), ("nodes", _count),
        ("parameters", _count), ("multiplications", _count),
    ):  # fmt: skip
        told = [form(side[name]) for side in (old, new)]
        style = "dim" if told[0] == told[1] else ""
        made.add_row(name, *(Text(text, style) for text in told))
    return made


def _ports(document: Document) -> RenderableType:
    made = table("", "name", "old", "new")
    for kind in ("inputs", "outputs"):
        for row in document[kind]:
            before, after = row["old"], row["new"]
            if before == after:
                made.add_row(kind[:-1], row["name"], Text(before, "dim"), Text(after, "dim"))
            else:
                made.add_row(kind[:-1], row["name"], _value(before, "red"), _value(after, "green"))
    return made


def _changes(document: Document) -> Iterator[tuple[str, Any, Any]]:
    for what in ("opsets", "metadata", "operators"):
        for name, (before, after) in document[what].items():
            yield f"{what.removesuffix('s')} {name}", before, after
    labels = document["labels"]
    if not labels["same"]:
        yield "labels", labels["old"], labels["new"]
        for what in ("removed", "added", "moved"):
            if labels[what]:
                names = ", ".join(labels[what][:8]) + (" …" if len(labels[what]) > 8 else "")
                yield f"labels {what}", *((names, None) if what == "removed" else (None, names))


def _parameters(found: Document) -> Iterator[RenderableType]:
    whole = found["same"] + len(found["changed"]) + len(found["renamed"]) + len(found["added"])
    share = f", {found['same_bytes'] / found['bytes']:.0%} of the bytes" if found["bytes"] else ""
    yield Text(f"{found['same']} of {whole} parameters are the same{share}", "bold")
    made = table("parameter", "change", "largest difference")
    for row in found["changed"][:_MOST]:
        shapes = "" if row["old"] == row["new"] else f" {row['old']} → {row['new']}"
        largest = "-" if row["largest"] is None else f"{row['largest']:.3g}"
        made.add_row(row["name"], Text(f"{row['relative']:.2%}{shapes}", "yellow"), largest)
    for before, after in found["renamed"][:_MOST]:
        made.add_row(after, Text(f"was {before}", "dim"), "-")
    for kind, style in (("added", "green"), ("removed", "red")):
        for row in found[kind][:_MOST]:
            made.add_row(row["name"], Text(f"{kind} {row['dtype']}{row['shape']}", style), "-")
    if made.row_count:
        yield made
    left = sum(max(len(found[kind]) - _MOST, 0) for kind in ("changed", "renamed", "added", "removed"))
    if left:
        yield Text(f"… and {left} more: -o json has all", "dim")


def _interface(document: Document) -> Iterator[RenderableType]:
    if document["compatible"]:
        yield Text("clients of the old model can use the new one", "bold green")
    else:
        yield Text("clients of the old model cannot use the new one", "bold red")
        yield pairs([("", sentence) for sentence in document["differences"]])
    if document["interface"]:
        yield ""
        yield Text("interface:", "bold")
        for one in document["interface"]:
            yield from _step(one)
        ends = document["left"]
        yield Text(
            "with these steps they can" if not ends else f"with these steps there is left: {'; '.join(ends)}",
            "green" if not ends else "yellow",
        )
    for sentence in document["undecided"]:
        yield Text.assemble(("? ", "bold magenta"), sentence)


def _step(one: Document) -> Iterator[Text]:
    lines = yaml.safe_dump(one["step"], default_flow_style=None, sort_keys=False, width=1000).splitlines()
    mark, style = ("  ", "dim") if one["certain"] else ("? ", "bold magenta")
    for at, line in enumerate(lines):
        told = Text.assemble("  - " if not at else "    ", line)
        yield told + Text(f"   # {mark if not one['certain'] else ''}{one['why']}", style) if not at else told


def _value(value: Any, style: str) -> Text:
    return Text("-", "dim") if value is None else Text(str(value), style)


def _count(number: int) -> str:
    return f"{number:,}"
