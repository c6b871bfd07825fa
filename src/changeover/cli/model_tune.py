"""`changeover model tune MODEL`: the settings that run a model best on this machine, never worse than the default."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from changeover.cli.client import ControlClient
from changeover.cli.exits import Exit, Usage
from changeover.cli.options import CONTROL, Control, Output, grouped, speaks_to
from changeover.cli.output import Format, say, show, size, table
from changeover.client.upload import TAR
from changeover.lifecycle.tarball import pack
from changeover.rollout.plan import Plan
from changeover.rollout.proving import GOLDEN
from changeover.rollout.quantities import seconds
from changeover.scratch import scratch_folder

if TYPE_CHECKING:
    from changeover.workbench.tuning.tune import Tuned
    from changeover.workbench.tuning.version import Planned, Version
    from changeover.workbench.tuning.wish import Wish

Document = dict[str, Any]
_SHOWN: Final = 12
_KINDS: Final = "fp32,int8_dynamic,int8_static,fp16"
_LEVELS: Final = "off,basic,extended,all"


class Goal(StrEnum):
    """What is to be better."""

    LATENCY = "latency"
    P99 = "p99"
    THROUGHPUT = "throughput"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is wanted, and what must not get worse."""

    objective: Annotated[
        Goal, typer.Option(help="Median or 99th percentile of a run of one row, rows a second, or memory.")
    ] = Goal.LATENCY
    budget: Annotated[str, typer.Option(metavar="TIME", help="For all of it, such as 120s or 5m.")] = "120s"
    golden: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", exists=True, file_okay=False, help="Golden set; default: golden/ beside the version."
        ),
    ] = None
    requests: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", exists=True, dir_okay=False, help="Recorded inputs by name (.npz), to calibrate with."
        ),
    ] = None
    min_accuracy: Annotated[
        float | None, typer.Option(min=0, max=1, metavar="SHARE", help="Least share of right answers.")
    ] = None
    max_difference: Annotated[
        float | None, typer.Option(min=0, help="Of a value from the recorded one, or of answers from the default's.")
    ] = None


@dataclass(frozen=True, slots=True)
class Tried:
    """What is tried."""

    precisions: Annotated[str, typer.Option(metavar="LIST", help="Separated by commas.")] = _KINDS
    levels: Annotated[str, typer.Option(metavar="LIST", help="Levels of optimisation.")] = _LEVELS
    threads: Annotated[str, typer.Option(metavar="LIST", help="Threads of a run; default: by the processors.")] = ""
    instances: Annotated[str, typer.Option(metavar="LIST", help="Runs at a time; default: by the objective.")] = ""
    batches: Annotated[str, typer.Option(metavar="LIST", help="Most rows of a run; default: by the objective.")] = ""
    custom_ops: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="Custom-op libraries that the plan may name, as `serve` has them.",
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class Left:
    """What is left behind."""

    picture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw speed against memory: .svg, or .html with the figures.")
    ] = None
    write: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write the version, its model and its model.yaml, into a new folder."),
    ] = None
    propose: Annotated[
        str | None, typer.Option(metavar="NAME", help="Push the answer to a server as a new version of this model.")
    ] = None


@speaks_to()
@grouped
def tune(
    path: Annotated[str, typer.Argument(metavar="MODEL", help="Model file, or folder of a version.")],
    bounds: Bounds,
    tried: Tried,
    left: Left,
    plan: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Its model.yaml, whose runtime is the default; else the one beside it."
        ),
    ] = None,
    control: Control = CONTROL,
    output: Output = Format.TABLE,
) -> int:
    """Find the settings that run a model best on this machine, and write them as a `runtime:` of its plan.

    Level, threads, instances, batch, precision and execution provider are measured in processes of their own, the
    better half again and longer, and the best beside the default at last. Without a certain gain the default is kept.
    Needs no server, unless the answer is proposed to one; there it has to pass the same gates as any other version.

    For example:

        changeover model tune models/digits/2 --budget 2m --picture digits.svg

        changeover model tune model.onnx --objective throughput --golden golden/ --min-accuracy 0.97 --propose digits
    """
    from changeover.workbench.described import model_path
    from changeover.workbench.tuning.tune import tune as tuned
    from changeover.workbench.tuning.version import opened, planned

    model = model_path(path)
    _check(left)
    before = planned(model, plan)
    wish = _wish(bounds, tried, model, before)
    with scratch_folder("tuned") as folder:
        version = opened(path, before.steps, folder)
        made = folder / "made"
        made.mkdir()
        found = tuned(version.model, wish, made, say)
        document = {"model": str(model), "plan": str(before.file) if before.file else None, **found.document}
        try:
            _leave(left, document, (before, version, found), folder, control)
        finally:  # what took so long is told, whatever becomes of it
            show(document, output, lambda: tune_table(document))
    return Exit.DONE


def _check(left: Left) -> None:
    """What could not be left behind in the end."""
    write, picture = left.write, left.picture
    if write is not None and write.exists() and (not write.is_dir() or any(write.iterdir())):
        raise Usage(f"--write: {write} is not empty")
    if picture is not None and not picture.parent.is_dir():
        raise Usage(f"--picture: there is no folder {picture.parent}")


def _leave(left: Left, document: Document, tuning: tuple[Planned, Version, Tuned], folder: Path, control: str) -> None:
    from changeover.workbench.tuning import report

    before, version, found = tuning
    place, proposed = left.write or folder / "version", left.propose is not None and not found.kept
    steps = version.steps if found.model == version.model else ()
    try:
        if left.write is not None or proposed:
            text = report.plan_text(document["runtime"], before.text, steps if version.steps else None)
            report.write(place, version.tuned(found.model), text)
        if left.write is not None:
            say(f"the version is in {left.write}")
        if left.propose is not None:
            document["proposed"] = _pushed(left.propose, place, control) if proposed else None
    except OSError as error:
        raise Usage(f"{error.filename2 or error.filename or place}: {error.strerror or error}") from None
    finally:  # last, and in any case: neither costs the other
        if left.picture is not None:
            _draw(document, left.picture)


def _wish(bounds: Bounds, tried: Tried, model: Path, before: Planned) -> Wish:
    from changeover.workbench.tuning.version import beside
    from changeover.workbench.tuning.wish import Wish

    return Wish(
        objective=bounds.objective.value,
        budget=_budget(bounds.budget),
        golden=bounds.golden or beside(model, GOLDEN),
        requests=bounds.requests,
        min_accuracy=bounds.min_accuracy,
        max_difference=bounds.max_difference,
        space=_space(tried),
        base=(before.plan or Plan()).runtime,
        cores=len(os.sched_getaffinity(0)),
        custom_ops=str(tried.custom_ops.resolve()) if tried.custom_ops is not None else "",
    )


def _budget(text: str) -> float:
    try:
        found = seconds(float(text) if text.replace(".", "", 1).isdigit() else text)
    except ValueError as error:
        raise Usage(f"--budget: {error}") from None
    if not 1 <= found <= 86400:
        raise Usage(f"--budget: {text} is not between a second and a day")
    return found


def _space(tried: Tried) -> Any:
    from changeover.workbench.microscope import checked_levels
    from changeover.workbench.precision import PRECISIONS
    from changeover.workbench.tuning.wish import Space

    precisions = tuple(part.strip() for part in tried.precisions.split(",") if part.strip())
    wrong = [one for one in precisions if one not in PRECISIONS]
    if wrong or not precisions:
        raise Usage(f"--precisions: {wrong[0] if wrong else ''!r} is none of {', '.join(PRECISIONS)}")
    return Space(
        precisions,
        checked_levels(tried.levels),
        _counts("--threads", tried.threads, 256),
        _counts("--instances", tried.instances, 64),
        _counts("--batches", tried.batches, 65536),
    )


def _counts(option: str, text: str, most: int) -> tuple[int, ...]:
    found = [part.strip() for part in text.split(",") if part.strip()]
    if any(not part.isdecimal() or not 1 <= int(part) <= most for part in found):
        raise Usage(f"{option}: {text!r} is no list of numbers from 1 to {most}")
    return tuple(dict.fromkeys(int(part) for part in found))


def _pushed(name: str, version: Path, control: str) -> Document:
    with tempfile.TemporaryFile() as room:
        pack(version, room)
        return ControlClient(control, timeout=60.0).push(name, room, TAR)


def _draw(document: Document, place: Path) -> None:
    from changeover.workbench.tuning.pareto import page, picture

    svg = picture(document)
    try:
        place.write_text(page(document, svg) if place.suffix == ".html" else svg, "utf-8")
    except OSError as error:
        raise Usage(f"{place}: {error.strerror or error}") from None
    say(f"the picture is in {place}")


def tune_table(document: Document) -> RenderableType:
    """Return what was answered, the best settings, and what was dropped."""
    from changeover.workbench.tuning.report import plan_text

    made = table("setting", "of the default", "p50", "p99", "rows/s", "memory", "rounds", "")
    known = sorted((one for one in document["settings"] if one["ratio"] is not None), key=lambda one: one["ratio"])
    for one in known[:_SHOWN]:
        marks = [word for word in ("default", "answer") if one["name"] == document[word]["name"]]
        made.add_row(
            Text(one["name"], "bold" if marks else ""), f"{one['ratio']:.3f}", _time(one["p50_us"]),
            _time(one["p99_us"]), f"{one['rows_per_s'] or 0:,.0f}", size(one["memory_bytes"]), str(one["rounds"]),
            ", ".join(marks),
        )  # fmt: skip
    parts: list[RenderableType] = [Text(document["sentence"], "bold"), ""]
    parts += [Text(f"note: {remark}", "yellow") for remark in document["remarks"]]
    if document["accuracy"]:
        parts.append(f"answers: {document['accuracy']['detail']}")
    parts += [made]
    if len(known) > _SHOWN:
        parts.append(f"… and {len(known) - _SHOWN} more (-o json has all)")
    dropped = [(one["precision"], one) for one in document["dropped"]]
    dropped += [(one["name"], one) for one in document["settings"] if one["reason"]]
    if dropped:
        lines = table("dropped", "reason", "")
        for name, one in dropped:
            lines.add_row(name, one["reason"], one["detail"])
        parts += ["", lines]
    parts += ["", "# model.yaml", plan_text(document["runtime"]).rstrip()]
    if document.get("proposed"):
        told = document["proposed"]
        parts += [
            "",
            f"proposed as version {told['version']} of {told['model']}, rollout {told.get('rollout') or 'none'}",
        ]
    elif "proposed" in document:
        parts += ["", "nothing was proposed: the default is kept"]
    return Group(*parts)


def _time(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f} µs"
