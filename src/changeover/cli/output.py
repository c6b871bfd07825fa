"""What commands print: one document, as a table for people or as JSON or YAML for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any

import yaml
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

_WIDTH_OF_A_PIPE = 160  # a table that nobody looks at in a terminal must not be cut to 80 columns


class Format(StrEnum):
    """Values of `-o`."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


def show(document: Any, form: Format, as_table: Callable[[], RenderableType]) -> None:
    """Print `document` on stdout; `as_table` makes what people see of it."""
    if form is Format.JSON:
        print(json.dumps(document, indent=2, ensure_ascii=False))
    elif form is Format.YAML:
        print(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), end="")
    else:
        console().print(as_table())


def console() -> Console:
    """Return the console of stdout, as it is now. Brackets in names and sentences are text, no markup of rich's."""
    width = None if sys.stdout.isatty() else _WIDTH_OF_A_PIPE
    return Console(width=width, highlight=False, soft_wrap=False, markup=False, emoji=False)


def say(sentence: str) -> None:
    """Tell people something that is not the result: on stderr, so that stdout stays one document."""
    print(sentence, file=sys.stderr, flush=True)


def table(*columns: str) -> Table:
    """Return an empty table in the house style."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def pairs(rows: Iterable[tuple[str, object]]) -> Table:
    """Return a table of names and values without a head; rows whose value is None are left out."""
    made = Table(box=None, show_header=False, pad_edge=False)
    made.add_column(style="bold")
    made.add_column(overflow="fold")
    for name, value in rows:
        if value is not None:
            made.add_row(name, value if isinstance(value, Text) else str(value))
    return made


def size(count: int | None) -> str:
    """Return a number of bytes for people: `47.0 MB`."""
    if count is None:
        return "-"
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if abs(value) < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"
