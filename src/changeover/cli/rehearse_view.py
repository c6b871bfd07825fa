"""A rehearsal as people see it: a line a candidate while it goes on, a row a kind at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from changeover.cli.output import pairs, table

if TYPE_CHECKING:
    from changeover.rehearsal.outcome import Outcome

Document = dict[str, Any]


def outcome_line(outcome: Outcome) -> str:
    """Return what became of one candidate in one line."""
    why = f" ({outcome.reason})" if outcome.reason else ""
    end = outcome.phase if outcome.caught_by == "nobody" else f"{outcome.phase}, caught by {outcome.caught_by}{why}"
    after = "" if outcome.detection_s is None else f" after {outcome.detection_s:.1f} s"
    counts = (
        f"{outcome.requests:,} requests, {outcome.exposed:,} exposed, {outcome.shielded:,} shielded, "
        f"{outcome.errors:,} errors{_shed(outcome)}, {outcome.wrong:,} wrong, {outcome.late:,} late"
    )
    return f"{'right' if outcome.right else 'WRONG'}: {end}{after}; {counts}{_back(outcome)}"


def _shed(outcome: Outcome) -> str:
    return f" ({outcome.shed:,} turned away)" if outcome.shed else ""


def _back(outcome: Outcome) -> str:
    """How long the way back took, where there was one."""
    if outcome.back_ms is None or outcome.acknowledged_ms is None:
        return ""
    return f"; last answer {outcome.back_ms:.0f} ms and acknowledged {outcome.acknowledged_ms:.0f} ms after the verdict"


def rehearsal_table(document: Document) -> RenderableType:
    """Return the rehearsal's rows, and its verdict."""
    made = table(
        "candidate", "taken back", "caught by", "reason", "after", "requests", "exposed", "shielded", "errors", "wrong",
        "late", "last answer", "acknowledged",
    )  # fmt: skip
    for column in made.columns[4:]:
        column.justify = "right"
    for row in document["summary"]:
        made.add_row(*_cells(row))
    return Group(made, "", pairs([("verdict", _verdict(document)), *_notes(document)]))


def _notes(document: Document) -> list[tuple[str, str]]:
    shed = sum(row["shed"] for row in document["summary"])
    if not shed:
        return []
    return [("note", f"{shed:,} of the errors are requests that were turned away: the machine cannot keep up with "
             f"{document['rate']:g} requests a second, whatever the candidate does; try a lower --rate")]  # fmt: skip


def _cells(row: Document) -> list[str | Text]:
    caught = ", ".join(f"{who}{f' x{n}' if row['runs'] > 1 else ''}" for who, n in row["caught_by"].items())
    found = row["detection_s"]
    colour = "green" if row["right"] == row["runs"] else "red"
    return [
        row["kind"],
        Text(f"{row['taken_back']} of {row['runs']}", colour),
        caught.replace("nobody", "-"),
        ", ".join(row["reasons"]) or "-",
        "-" if found is None else f"{found['median']:.1f} s",
        *(f"{row[name]:,}" for name in ("requests", "exposed", "shielded", "errors", "wrong", "late")),
        *("-" if row[name] is None else f"{row[name]:.0f} ms" for name in ("back_ms", "acknowledged_ms")),
    ]


def _verdict(document: Document) -> Text:
    wrong = [row["kind"] for row in document["summary"] if row["right"] < row["runs"]]
    if wrong:
        return Text(f"the plan does not do: {', '.join(wrong)}", "red")
    return Text("every bad candidate was taken back, every healthy one promoted", "green")
