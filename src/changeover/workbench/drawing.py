"""What the workbench's pictures have in common: their words, and the page that they stand on. Pure."""

from __future__ import annotations

from html import escape
from typing import Final

TEXT: Final = "#1b263b"
DIM: Final = "#5c677d"


def cut(text: str, most: int) -> str:
    """No more than so many characters of it."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def said(x: float, y: float, text: str, size: float, *, bold: bool = False, anchor: str = "", fill: str = TEXT) -> str:
    """Words in a picture, as an element of SVG; `x` and `y` in its units, `anchor` as SVG's `text-anchor`."""
    at = f' text-anchor="{anchor}"' if anchor else ""
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" fill="{fill}"{at}{weight}>{escape(text)}</text>'


def page(title: str, body: str) -> str:
    """An HTML page that needs nothing else.

    Args:
        title: as text.
        body: as HTML.
    """
    head = escape(title)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{head}</title><style>'
        "body{font:15px system-ui,sans-serif;margin:2rem;color:#1b263b;background:#fff}"
        "table{border-collapse:collapse;margin:1rem 0}"
        "td,th{padding:.3rem .8rem;text-align:left;border-bottom:1px solid #ddd}"
        f".wide{{overflow-x:auto}}</style><h1>{head}</h1>{body}</html>"
    )
