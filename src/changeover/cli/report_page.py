"""The page of `changeover report`: a rollout's documents as one HTML file that needs nothing else. Pure."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from changeover.bench.charts import Chart, Mark, Point, svg
from changeover.bench.page import STYLE
from changeover.cli.output import size
from changeover.cli.report_charts import Bar, Interval, bars, intervals
from changeover.cli.rollouts import percent, version_of, way_of

Document = dict[str, Any]

_GOOD: Final = ("succeeded", "watching")
_BAD: Final = ("rolled_back", "failed", "rolling_back")
_TESTS: Final = {
    "errors": "errors",
    "work_p50": "work p50",
    "work_p95": "work p95",
    "agreement": "agreement",
    "guard": "latency guard",
    "utilisation": "utilisation",
}
_COLOURS: Final = {"failed": "--bad", "clear": "--good", "passed": "--good"}
_WHEN: Final = ("before", "during", "after")
_MORE: Final = """
.verdict { display: inline-block; font-weight: 600; padding: .1rem .6rem; border: 1px solid; border-radius: .3rem; }
.good { color: var(--good); } .bad { color: var(--bad); } .open { color: var(--soft); }
code { font: .85em ui-monospace, monospace; overflow-wrap: anywhere; }
td .good, td .bad, td .open { white-space: nowrap; }
.wide { overflow-x: auto; }
.wide svg, .wide table:not(.pairs) { min-width: 38rem; }
.pairs td { overflow-wrap: anywhere; }
footer { margin-top: 3rem; color: var(--soft); font-size: .85rem; }
@media print { main { max-width: none; padding: 0; } section { break-inside: avoid; } }
"""


def page(rollout: Document, certificate: Document | None, made: datetime) -> str:
    """The whole document; `certificate` is None as long as there is none."""
    title = f"{rollout['model']}: {way_of(rollout)}"
    parts = [
        _head(rollout),
        _section("What changed", _changed(rollout, certificate)),
        _section("Gates", _gates(rollout)),
        _section("Share of the traffic", _share(rollout)),
        _section("Steps and verdicts", _steps(rollout, certificate)),
        _section("What the judge found last", _findings(rollout)),
        _section("Latency", _latency(certificate)),
        _section("Memory", _memory(certificate)),
        _section("Certificate", _certificate(certificate)),
        _section("History", _history(rollout)),
    ]
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)} ({html.escape(rollout["id"])})</title>
<style>{STYLE}{_MORE}</style>
<main>
<h1>{html.escape(title)}</h1>
{"".join(parts)}
<footer>Rollout {html.escape(rollout["id"])}, as of {made.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC. Written by
<code>changeover report</code>; every number was measured, and what was not is left out.</footer>
</main>
</html>
"""


def _section(title: str, body: str) -> str:
    """Nothing where there is nothing to say."""
    return f'<section><h2>{title}</h2><div class="wide">{body}</div></section>' if body else ""


def _head(rollout: Document) -> str:
    phase = rollout["phase"]
    kind = "good" if phase in _GOOD else "bad" if phase in _BAD else "open"
    mark = {"good": "✔", "bad": "✖", "open": "●"}[kind]
    why = rollout.get("detail") or rollout.get("reason") or ""
    verdict = f'<span class="verdict {kind}">{mark} {html.escape(phase.replace("_", " "))}</span>'
    return f'<p class="summary">{verdict} {html.escape(why)}</p>'


def _changed(rollout: Document, certificate: Document | None) -> str:
    digests = [rollout["from"]["digest"] if rollout.get("from") else None, rollout["to"]["digest"]]
    decided = (certificate or {}).get("decided_by")
    rows = [
        ("model", rollout["model"]),
        ("from", f"{version_of(rollout['from'])}, digest {digests[0]}" if rollout.get("from") else "nothing"),
        ("to", f"{version_of(rollout['to'])}, digest {digests[1]}"),
        ("started", _clock(rollout["started"])),
        ("ended", _clock(rollout["ended"]) if rollout.get("ended") else "not yet"),
        ("decided by", decided),
        ("plan", ", ".join(rollout.get("steps") or []) or None),
    ]
    return _pairs(rows)


def _gates(rollout: Document) -> str:
    rows = [(_word(g["result"]), g["gate"], g.get("detail") or _facts(g.get("evidence"))) for g in rollout["gates"]]
    return _table(("result", "gate", "what it rests on"), rows)


def _share(rollout: Document) -> str:
    """The new version's share over time, as a staircase with a mark at each phase."""
    moments = rollout.get("history") or []
    if len(moments) < 2:
        return ""
    began = _time(moments[0]["at"])
    points: list[Point] = []
    marks: list[Mark] = []
    share = 0.0
    for number, moment in enumerate(moments):
        at = (_time(moment["at"]) - began).total_seconds()
        points.append((at, share))
        share = _share_of(moment, share)
        points.append((at, share))
        marks.append(Mark(at, f"{moment['phase']} {moment.get('step') or ''}".strip(), str(number + 1)))
    end = (_time(rollout.get("ended") or rollout["updated"]) - began).total_seconds()
    points.append((max(end, points[-1][0]), share))
    name = f"version {rollout['to']['version']}"
    if not any(value for _, value in points):
        return f"<p>None of it went to {html.escape(name)}.</p>"
    return svg(Chart("Share of the traffic", "%, numbers as in the history", {name: points}, marks))


def _share_of(moment: Document, before: float) -> float:
    if moment["phase"] in ("promoting", "watching", "succeeded"):
        return 100.0
    if moment["phase"] in _BAD:
        return 0.0
    return before if moment.get("weight") is None else moment["weight"] / 100


def _steps(rollout: Document, certificate: Document | None) -> str:
    rows = []
    for step in (certificate or {}).get("steps", []):
        numbers = step.get("numbers") or {}
        requests, failures = numbers.get("requests") or {}, numbers.get("failures") or {}
        counted = [_of(failures.get(arm), requests.get(arm)) for arm in ("active", "candidate")]
        held = f"{numbers['held_s']:.0f} s" if "held_s" in numbers else "-"
        verdict = _word(step["verdict"]) if step.get("verdict") else "-"
        rows.append((step["name"], _clock(step["started"]), held, *counted, verdict, numbers.get("detail") or ""))
    if rows:
        return _table(("step", "began", "held", "failed, old", "failed, new", "verdict", "why"), rows)
    arms = [(n, a) for n, a in (rollout.get("arms") or {}).items() if a]
    return _table(("version", "failed"), [(a["version"], _of(a["failures"], a["requests"])) for _, a in arms])


def _findings(rollout: Document) -> str:
    ruling = rollout.get("ruling") or {}
    found = ruling.get("findings") or []
    rows = [(_TESTS.get(f["test"], f["test"]), _word(f["verdict"]), f["detail"], _need(f)) for f in found]
    if not rows:
        return ""
    drawn = [
        Interval(
            _TESTS.get(f["test"], f["test"]),
            f["low"],
            f["high"],
            f["limit"],
            f"{f['low']:.3g} to {f['high']:.3g}, limit {f['limit']:.3g}",
            _COLOURS.get(f["verdict"], "--soft"),
        )
        for f in found
        if None not in (f.get("low"), f.get("high")) and (f.get("limit") or 0) > 0
    ]
    chart = intervals("What the tests found, against their limits", drawn) if drawn else ""
    told = f"<p>{_word(ruling['verdict'])}: {html.escape(ruling['detail'])}</p>"
    return told + chart + _table(("test", "verdict", "found", "needs"), rows)


def _latency(certificate: Document | None) -> str:
    known = [(w, found) for w in _WHEN if (found := ((certificate or {}).get("latency") or {}).get(w))]
    drawn = [
        Bar(f"{name} {when}", found[f"{name}_ms"], f"{found[f'{name}_ms']:.2f} ms", number)
        for number, name in enumerate(("p50", "p99"), 1)
        for when, found in known
        if found.get(f"{name}_ms") is not None
    ]
    return bars("Latency before, during and after the changeover", drawn) if drawn else ""


def _memory(certificate: Document | None) -> str:
    memory = (certificate or {}).get("memory") or {}
    named = (("before", "before"), ("at most", "peak"), ("after", "after"))
    drawn = [(name, memory.get(f"{key}_bytes")) for name, key in named]
    return bars("Memory of the workers", [Bar(name, value, size(value), 3) for name, value in drawn if value])


def _certificate(certificate: Document | None) -> str:
    if certificate is None:
        return "<p>There is none (yet): it is written five seconds after the switch.</p>"
    requests, switch = certificate.get("requests") or {}, certificate.get("switch") or {}
    rows = [
        ("outcome", f"{certificate['outcome'].replace('_', ' ')}, decided by {certificate['decided_by']}"),
        ("requests", _of(requests.get("failed"), requests.get("total")) + " failed" if requests else None),
        ("shielded", requests.get("shielded")),
        ("shed", requests.get("shed")),
        ("switch", f"epoch {switch['epoch']}, stored {switch['store_time']}" if switch else "none"),
        ("last acknowledgement", _unit(switch.get("last_ack_ms"), "ms after the store")),
        ("stale picks", switch.get("stale_picks")),
        ("loading", _unit((certificate.get("loading") or {}).get("load_seconds"), "s")),
    ]
    return _pairs(rows)


def _history(rollout: Document) -> str:
    rows = [
        (
            str(number),
            _clock(moment["at"]),
            f"{moment['phase'].replace('_', ' ')} {moment.get('step') or ''}".strip(),
            percent(moment["weight"]) if moment.get("weight") is not None else "-",
            moment.get("by") or "",
            moment.get("detail") or moment.get("reason") or "",
        )
        for number, moment in enumerate(rollout.get("history") or [], 1)
    ]
    return _table(("", "at", "phase", "share", "by", "why"), rows)


class _Marked(str):
    """A cell that is HTML already."""

    __slots__ = ()


def _word(verdict: str) -> _Marked:
    """A verdict with a sign that says what its colour says too."""
    good, bad = ("passed", "clear", "succeeded"), ("failed", "rolled_back", "step_failed")
    kind, mark = ("good", "✔") if verdict in good else ("bad", "✖") if verdict in bad else ("open", "●")
    return _Marked(f'<span class="{kind}">{mark} {html.escape(verdict.replace("_", " "))}</span>')


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in _cells(row))}</tr>" for row in rows)
    head = "".join(f"<th>{html.escape(name)}</th>" for name in heads)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" if body else ""


def _cells(row: Sequence[str]) -> Iterator[str]:
    for cell in row:
        yield cell if isinstance(cell, _Marked) else html.escape(str(cell))


def _pairs(rows: Iterable[tuple[str, object]]) -> str:
    told = [(name, value) for name, value in rows if value is not None]
    body = "".join(f"<tr><th>{html.escape(n)}</th><td>{html.escape(str(v))}</td></tr>" for n, v in told)
    return f'<table class="pairs"><tbody>{body}</tbody></table>'


def _of(part: int | None, whole: int | None) -> str:
    return "-" if part is None or whole is None else f"{part:,} of {whole:,}"


def _need(finding: Document) -> str:
    return f"{finding['need']:,} more" if finding.get("need") else "-"


def _unit(value: float | None, unit: str) -> str | None:
    return None if value is None else f"{value:,.3g} {unit}"


def _facts(evidence: Document | None) -> str:
    return ", ".join(f"{name} {value}" for name, value in (evidence or {}).items())


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _clock(text: str) -> str:
    return f"{_time(text).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
