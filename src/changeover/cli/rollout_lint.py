"""`changeover rollout lint`: what is wrong, or probably not meant, in a plan, by line. Needs no server."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from changeover.cli.exits import Exit, Usage
from changeover.cli.options import Output
from changeover.cli.output import Format, pairs, show
from changeover.errors import InvalidPlan

if TYPE_CHECKING:
    from changeover.rollout.plan import Plan
    from changeover.rollout.plan_rollout import PlanStep

Document = dict[str, Any]

_AROUND = 1
"""Lines shown before and after the one meant."""
_MOST = 20
"""Mistakes that are told at once."""
_NOWHERE = object()


def lint(
    file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="A plan: model.yaml.")],
    rate: Annotated[
        float | None, typer.Option(min=0, metavar="R", help="Requests a second that the model gets, if you know.")
    ] = None,
    output: Output = Format.TABLE,
) -> int:
    """Check a plan without a server: exit 0 when it is one, 1 when it is not; remarks do not count.

    For example:

        changeover rollout lint models/digits/model.yaml

        changeover rollout lint slow.yaml --rate 20 -o json
    """
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise Usage(f"{file} cannot be read as text: {error}") from None
    document = checked(text, str(file), rate)
    show(document, output, lambda: lint_table(document, text.splitlines()))
    return Exit.DONE if document["valid"] else Exit.REFUSED


def checked(text: str, name: str, rate: float | None = None) -> Document:
    """Return what there is to say on a plan: `valid`, `problems` by line, and the plan with its defaults."""
    from msgspec import to_builtins

    from changeover.rollout.plan import parse_plan
    from changeover.rollout.plan_lint import lint
    from changeover.rollout.yaml_text import line_of, read_yaml

    try:
        plan = parse_plan(text, name)
    except InvalidPlan as error:
        return {"file": name, "valid": False, "problems": _mistakes(text, name, error), "plan": None}
    node = read_yaml(text, name)[1]
    remarks = [
        {"line": line_of(node, r.path), "kind": "remark", "field": r.path.removeprefix("$."), "sentence": r.sentence}
        for r in lint(plan, rate)
    ]
    by_line = sorted(remarks, key=lambda remark: remark["line"] or 0)
    return {"file": name, "valid": True, "problems": by_line, "plan": to_builtins(plan)}


def _mistakes(text: str, name: str, first: InvalidPlan) -> list[Document]:
    """Every mistake, by line. What has one is left out, and the rest is looked at again; of a list one is told."""
    from changeover.rollout.plan import plan_of
    from changeover.rollout.yaml_text import read_yaml

    found = [_error(first.message, name)]
    try:
        value, node = read_yaml(text, name)
    except InvalidPlan:
        return found
    while len(found) < _MOST and _leave_out(value, found[-1]["field"]):
        try:
            plan_of(value, name, node)
        except InvalidPlan as error:
            found.append(_error(error.message, name))
        else:
            break
    return sorted(found, key=lambda mistake: mistake["line"] or 0)


def _leave_out(value: object, field: str | None) -> bool:
    """Take a field away, such as `rollout.hold`, or the list that it is in; false when it is not there."""
    names = (field or "").partition("[")[0].split(".")
    for name in names[:-1]:
        value = value.get(name) if isinstance(value, dict) else None
    return isinstance(value, dict) and value.pop(names[-1], _NOWHERE) is not _NOWHERE


def _error(message: str, name: str) -> Document:
    """Take the sentence of an invalid plan apart: file, line, field, what is wrong."""
    found = re.fullmatch(
        re.escape(name) + r"(?: line (?P<line>\d+))?:? (?:(?P<field>[\w.\[\]]+): )?(?P<what>.*)", message
    )
    if found is None:
        return {"line": None, "kind": "error", "field": None, "sentence": message}
    line = found["line"]
    return {
        "line": int(line) if line else None,
        "kind": "error",
        "field": found["field"],
        "sentence": found["what"].rstrip("."),
    }


def lint_table(document: Document, lines: Sequence[str]) -> RenderableType:
    """Return every problem with its lines, and the way that a valid plan makes."""
    parts: list[RenderableType] = []
    for problem in document["problems"]:
        parts += [_problem(document["file"], problem, lines), ""]
    if not document["valid"]:
        return Group(*parts[:-1])
    return Group(*parts, _way(document))


def _problem(file: str, problem: Document, lines: Sequence[str]) -> RenderableType:
    line = problem["line"]
    place = f"{file}:{line}" if line else file
    about = f"{problem['field']}: " if problem["field"] else ""
    style = "bold red" if problem["kind"] == "error" else "bold magenta"
    head = Text.assemble((place, "bold"), ": ", (problem["kind"], style), f": {about}{problem['sentence']}")
    return Group(head, *_excerpt(line, lines)) if line else head


def _excerpt(line: int, lines: Sequence[str]) -> Iterator[Text]:
    for number in range(max(1, line - _AROUND), min(len(lines), line + _AROUND) + 1):
        mark = ">" if number == line else " "
        yield Text(f"  {mark}{number:4d} | {lines[number - 1]}", "" if number == line else "dim")


def _way(document: Document) -> RenderableType:
    """What a rollout under this plan goes through, and how long that takes at least."""
    from changeover.rollout.plan import plan_of

    plan = plan_of(document["plan"])
    rollout = plan.rollout
    stations = ["gates", *(_station(step) for step in rollout.ladder), "100%"]
    least = sum(step.hold or 0 for step in rollout.ladder)
    return pairs(
        [
            (
                document["file"],
                _sound(len(document["problems"])),
            ),
            ("strategy", rollout.strategy),
            ("way", " → ".join(stations)),
            ("takes", f"{least:g} s at least, and the load" if rollout.ladder else None),
            ("then", _after(plan)),
        ]
    )


def _sound(remarks: int) -> str:
    return "a sound plan" + (f", {remarks} remark{'s' if remarks > 1 else ''}" if remarks else "")


def _station(step: PlanStep) -> str:
    return f"{step.name} ({step.hold:g} s, {step.min_requests:,} requests)"


def _after(plan: Plan) -> str:
    if not plan.rollout.undo_window:
        return "the old version is released at once"
    kept = f"{plan.rollout.held_back / 100:g}% of the traffic stays on it" if plan.rollout.held_back else "no traffic"
    return f"the old version is kept warm for {plan.rollout.undo_window:g} s, {kept}"
