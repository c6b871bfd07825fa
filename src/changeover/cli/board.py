"""What `rollout watch` shows of a rollout at one moment. Pure: a status document and the time make one picture.

Signs say what colours say too, and only colours are used that are readable on light and dark terminals alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from changeover.cli.output import table
from changeover.cli.rollouts import exit_of, percent, version_of, way_of

Document = dict[str, Any]

_MOMENTS = 5
_BAR = 30
_NARROW = 100
"""Columns of a terminal below which the picture leaves out what can be done without."""


@dataclass(frozen=True, slots=True)
class Sign:
    """How something is marked: a sign, and a style that repeats what the sign says."""

    mark: str
    style: str


_GOING = Sign("●", "bold")
_GOOD = Sign("✔", "green")
_BAD = Sign("✖", "red")
_HELD = Sign("‖", "bold magenta")
_AHEAD = Sign("○", "dim")
_PHASES = {
    "pending": _AHEAD,
    "paused": _HELD,
    "watching": _GOOD,
    "succeeded": _GOOD,
    "rolling_back": Sign("◀", "bold red"),
    "rolled_back": _BAD,
    "failed": _BAD,
}
_PROMOTED = ("watching", "succeeded")
_VERDICTS = {"failed": _BAD, "clear": _GOOD, "passed": _GOOD, "inconclusive": _HELD}
_TESTS = {
    "errors": "errors",
    "work_p50": "work p50",
    "work_p95": "work p95",
    "agreement": "agreement",
    "guard": "latency guard",
    "utilisation": "utilisation",
}


def fitted(status: Document, now: datetime, screen: Console, silent_s: float = 0.0) -> RenderableType:
    """Return the picture of a rollout with as much of its past as the screen has lines for."""
    for moments in range(_MOMENTS, -1, -1):
        made = board(status, now, screen.width, silent_s=silent_s, moments=moments)
        if len(screen.render_lines(made, pad=False)) < screen.height:
            break
    return made


def board(
    status: Document, now: datetime, width: int, *, silent_s: float = 0.0, moments: int = _MOMENTS
) -> RenderableType:
    """Return the picture of a rollout.

    Args:
        status: as the control API gives it.
        now: the time, for what counts down.
        width: columns of the terminal.
        silent_s: seconds since the server last answered.
        moments: how many of the latest moments of its past are shown.
    """
    parts = [_head(status, now, width), "", _track(status)]
    facts = list(_facts(status, now))
    if facts:
        parts += ["", _aligned(facts)]
    if any((status.get("arms") or {}).values()):
        parts += ["", _arms(status, width)]
    if status.get("ruling") and status["ruling"].get("findings"):
        parts += ["", _findings(status["ruling"])]
    if status.get("history") and moments:
        parts += ["", _moments(status["history"][-moments:])]
    if silent_s >= 2:
        parts += ["", Text(f"no answer from the server for {silent_s:.0f} s", "bold magenta")]
    return Group(*parts)


def line(status: Document) -> str:
    """Return the same in one line, for what is no terminal."""
    step, weight, ruling = status.get("step"), status.get("weight"), status.get("ruling")
    words = [status["id"], status["model"], way_of(status), status["phase"]]
    if step and exit_of(status) is None:
        words.append(f"{step['name']} ({step['index']}/{step['of']})")
    if weight:
        words.append(f"weight {percent(weight['set'])} set, {_share(weight.get('actual'))} actual")
    candidate = (status.get("arms") or {}).get("candidate")
    if candidate:
        words.append(f"{candidate['requests']:,} requests, {candidate['failures']:,} failed")
    why = (ruling or {}).get("detail") if exit_of(status) is None else status.get("detail") or status.get("reason")
    return " ".join(words) + (f": {why}" if why else "")


def _head(status: Document, now: datetime, width: int) -> RenderableType:
    sign = _PHASES.get(status["phase"], _GOING)
    end = _time(status["ended"]) if status.get("ended") else now
    left = Text.assemble((status["model"], "bold"), "  ", way_of(status), "  ", (status["id"], "dim"))
    right = Text.assemble((f"{sign.mark} {status['phase']}", sign.style), f"  {_span(end - _time(status['started']))}")
    if len(left) + len(right) + 2 > width:
        return Group(left, right)
    return left + Text(" " * (width - len(left) - len(right))) + right


def _track(status: Document) -> Text:
    """The steps as a way: what lies behind, where the rollout is, what lies ahead."""
    made = Text()
    for position, (name, sign) in enumerate(_stations(status)):
        if position:
            made.append(" ─ ", "dim")
        made.append(f"{sign.mark}\N{NO-BREAK SPACE}{name.replace(' ', chr(0xA0))}", sign.style)
    return made


def _stations(status: Document) -> Iterator[tuple[str, Sign]]:
    names = ["gates", *status.get("steps", []), *(["undo window"] if _has_window(status) else [])]
    at, there = _place(status, len(names))
    for position, name in enumerate(names):
        yield name, _GOOD if position < at else there if position == at else _AHEAD


def _place(status: Document, stations: int) -> tuple[int, Sign]:
    """The station that a rollout is at, and its sign; one beyond the last when all lie behind."""
    phase, step, sign = status["phase"], status.get("step"), _PHASES.get(status["phase"], _GOING)
    if phase == "succeeded":
        return stations, _GOOD
    if phase == "promoting":
        return len(status.get("steps", [])), _GOING
    if phase == "watching" or any(moment["phase"] == "watching" for moment in status.get("history") or []):
        at_window = _GOING if phase == "watching" else sign
        return (stations - 1, at_window) if _has_window(status) else (stations, _GOOD)
    return (int(step["index"]) if step and phase != "validating" else 0), sign


def _has_window(status: Document) -> bool:
    return bool(status["from"]) and bool((status.get("plan") or {}).get("rollout", {}).get("undo_window", 1))


def _aligned(facts: list[tuple[str, RenderableType]]) -> RenderableType:
    made = Table(box=None, show_header=False, pad_edge=False)
    made.add_column(style="bold", min_width=8)
    made.add_column(overflow="fold")
    for name, value in facts:
        made.add_row(name, value)
    return made


def _facts(status: Document, now: datetime) -> Iterator[tuple[str, RenderableType]]:
    step, weight, ruling = status.get("step"), status.get("weight"), status.get("ruling")
    if step and exit_of(status) is None:
        yield "step", _step_words(step)
    if weight:
        yield "weight", _weight(weight)
    if ruling and ruling.get("detail") and exit_of(status) is None:
        sign = _VERDICTS.get(ruling["verdict"], _GOING)
        yield "verdict", Text.assemble((f"{sign.mark} {ruling['verdict']}", sign.style), f": {ruling['detail']}")
    for gate in status.get("gates") or []:
        if gate["result"] == "failed":
            yield "gate", Text.assemble((f"{_BAD.mark} {gate['gate']}", _BAD.style), f": {gate.get('detail') or ''}")
    if status.get("reason"):
        yield "reason", Text.assemble((status["reason"], "bold"), f": {status.get('detail') or ''}")
    if status["phase"] == "watching" and status.get("undo_until"):
        until = _time(status["undo_until"])
        yield "undo", f"until {until:%H:%M:%S} UTC, {_span(until - now)} left: changeover undo {status['model']}"


def _step_words(step: Document) -> str:
    words = [f"{step['name']}, {step['index']} of {step['of']}"]
    if step.get("held_s") is not None:
        words.append(f"held {step['held_s']:.0f} s of {step.get('hold_s') or 0:g} s")
    if step.get("min_requests"):
        words.append(f"{step.get('requests') or 0:,} of {step['min_requests']:,} requests")
    return ", ".join(words)


def _weight(weight: Document) -> Text:
    part = weight["set"] * _BAR // 10_000  # full only at 100%, empty only at 0%
    bar = "█" * max(part, 1 if weight["set"] else 0)
    share = f"{percent(weight['set'])} set, {_share(weight.get('actual'))} actual  "
    return Text.assemble(share, (bar, "green"), ("░" * (_BAR - len(bar)), "dim"))


def _share(actual: float | None) -> str:
    return "-" if actual is None else f"{actual:.2%}"


def _arms(status: Document, width: int) -> RenderableType:
    """Both versions with what they answered; a narrow terminal does without the shares."""
    columns = ["version", "role", "req/s", "requests", "p50 ms", "p95 ms", "p99 ms", "failed", "shielded"]
    made = table(*columns)
    if width < _NARROW:
        made.padding = (0, 1, 0, 0)
        made.columns[0].min_width = 7
    for column in made.columns[2:]:
        column.justify = "right"
        column.no_wrap = True
    roles = ("standby", "active") if status["phase"] in _PROMOTED else ("active", "candidate")
    for key, reference, role in zip(("active", "candidate"), (status["from"], status["to"]), roles, strict=True):
        if status["arms"].get(key):
            made.add_row(version_of(reference), role, *_answered(status["arms"][key]))
    return made


def _answered(arm: Document) -> list[RenderableType]:
    failed = Text(f"{arm['failures']:,}", "bold red" if arm["failures"] else "")
    times = (f"{arm[key]:.2f}" if arm.get(key) is not None else "-" for key in ("p50_ms", "p95_ms", "p99_ms"))
    rps = f"{arm['rps']:,.1f}" if arm.get("rps") is not None else "-"
    return [rps, f"{arm['requests']:,}", *times, failed, f"{arm['shielded']:,}"]


def _findings(ruling: Document) -> RenderableType:
    """What each test has found, and what it lacks."""
    made = table("test", "verdict", "found", "needs")
    for finding in ruling["findings"]:
        sign = _VERDICTS.get(finding["verdict"], _GOING)
        verdict = Text(f"{sign.mark} {finding['verdict']}", sign.style)
        need = f"{finding['need']:,} more" if finding.get("need") else "-"
        made.add_row(_TESTS.get(finding["test"], finding["test"]), verdict, finding.get("detail") or "", need)
    return made


def _moments(history: list[Document]) -> RenderableType:
    made = Table(box=None, show_header=False, pad_edge=False)
    for style in ("dim", "", "dim", ""):
        made.add_column(style=style, overflow="fold")
    for moment in history:
        place = f"{moment['phase']} {moment.get('step') or ''}".rstrip()
        made.add_row(f"{_time(moment['at']):%H:%M:%S}", place, moment.get("by") or "", moment.get("detail") or "")
    return made


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _span(span: Any) -> str:
    """A time span for people: `42s`, `1m 42s`, `2h 03m`."""
    seconds = max(0, int(span.total_seconds()))
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m {seconds % 60:02d}s"
    return f"{seconds // 3600}h {seconds % 3600 // 60:02d}m"
