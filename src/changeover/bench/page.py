"""A report as one HTML file that needs nothing else: figures, charts, the environment. Pure."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from changeover.bench.charts import Chart, svg

Figure = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Report:
    """What a page shows.

    Attributes:
        summary: one sentence below the title.
        figures: each with `figure` (its name), `met`, `reach` and any values.
        notes: what a reader has to know about the figures.
        environment: names and values for the last table.
    """

    title: str
    summary: str
    figures: Sequence[Figure]
    charts: Sequence[Chart]
    environment: Mapping[str, Any]
    notes: Sequence[str] = ()


def page(report: Report) -> str:
    """The whole document."""
    title = html.escape(report.title)
    charts = "\n".join(f"<section><h2>{html.escape(c.title)}</h2>{svg(c)}</section>" for c in report.charts)
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in report.notes)
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{STYLE}</style>
<main>
<h1>{title}</h1>
<p class="summary">{html.escape(report.summary)}</p>
{_figures(report.figures)}
<ul class="notes">{notes}</ul>
{charts}
<section><h2>Environment</h2>{_environment(report.environment)}</section>
</main>
</html>
"""


def _figures(figures: Sequence[Figure]) -> str:
    rows = []
    for figure in figures:
        word = "met" if figure["met"] else "missed"
        values = [(k, v) for k, v in figure.items() if k not in ("figure", "met", "reach")]
        cells = "".join(_value(k, v) for k, v in values)
        rows.append(
            f'<tr><td class="{word}">{"✓" if figure["met"] else "✗"} {word}</td>'
            f"<th>{html.escape(_words(figure['figure']))}</th><td class=values>{cells}</td>"
            f"<td>{html.escape(str(figure['reach']))}</td></tr>"
        )
    head = "<tr><th></th><th>figure</th><th>measured</th><th>to reach</th></tr>"
    return f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"


def _value(name: str, value: Any) -> str:
    """One value with its unit, which is the end of its name, and its name."""
    stem, _, end = name.rpartition("_")
    unit = _UNITS.get(end, "")
    label = _words(stem if unit else name)
    return f"<span><b>{html.escape(_plain(value) + unit)}</b> {html.escape(label)}</span>"


_UNITS = {"mb": " MB", "gb": " GB", "s": " s", "ms": " ms"}


def _environment(values: Mapping[str, Any]) -> str:
    rows = [f"<tr><th>{html.escape(_words(k))}</th><td>{html.escape(_plain(v))}</td></tr>" for k, v in values.items()]
    return f"<table><tbody>{''.join(rows)}</tbody></table>"


def _plain(value: Any) -> str:
    """A value for people: thousands apart, members of a mapping beside each other."""
    if isinstance(value, Mapping):
        return ", ".join(f"{_words(str(k))} {_plain(v)}" for k, v in value.items()) or "none"
    if isinstance(value, bool) or value is None:
        return "-" if value is None else "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def _words(name: str) -> str:
    return name.replace("_", " ")


STYLE = """
:root { color-scheme: light dark; --back: #fdfdfc; --ink: #22252a; --soft: #6b7078; --edge: #e3e3e0; --good: #1f7a4d;
  --bad: #b3261e; --line-1: #2563ae; --line-2: #c2570c; --line-3: #2f855a; --line-4: #8a4fb0; --line-5: #8c6d1f;
  --line-6: #5d6b78; }
@media (prefers-color-scheme: dark) {
  :root { --back: #16181c; --ink: #e6e6e3; --soft: #9aa0a8; --edge: #2d3138; --good: #5cc491; --bad: #ff8a7d;
    --line-1: #6fb0ff; --line-2: #ffa45c; --line-3: #66cc99; --line-4: #cf9bf0; --line-5: #dcc069; --line-6: #a9b6c2; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; margin: 0; }
h2 { font-size: 1.05rem; margin: 2.2rem 0 .4rem; }
.summary { margin: .2rem 0 1.6rem; font-size: 1.05rem; color: var(--soft); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .45rem .8rem .45rem 0; border-bottom: 1px solid var(--edge); }
th { font-weight: 600; }
thead th { color: var(--soft); font-weight: 400; }
td.met, td.missed { white-space: nowrap; font-weight: 600; }
td.met { color: var(--good); }
td.missed { color: var(--bad); }
td.values span { display: inline-block; margin-right: .9rem; color: var(--soft); }
td.values b { color: var(--ink); font-weight: 600; }
.notes { color: var(--soft); padding-left: 1.1rem; }
svg { width: 100%; height: auto; display: block; }
.grid { stroke: var(--edge); }
.axis, .mark { fill: var(--soft); font: 11px system-ui, sans-serif; }
.line { fill: none; stroke-width: 1.6; stroke-linejoin: round; }
.tick { stroke: var(--soft); stroke-width: 1; opacity: .55; }
.kill { stroke: var(--bad); stroke-dasharray: 3 3; opacity: .6; }
.legend { margin: .2rem 0 0; color: var(--soft); display: flex; flex-wrap: wrap; gap: 0 1.1rem; font-size: .85rem; }
.legend i { display: inline-block; width: .9rem; height: .2rem; margin-right: .4rem; vertical-align: middle; }
.unit { margin-left: auto; }
"""
