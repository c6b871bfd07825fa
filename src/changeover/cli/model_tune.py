"""`changeover model tune MODEL`: the settings that run a model best on this machine, never worse than the default."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from changeover.cli.client import ControlClient
from changeover.cli.exits import Exit, Usage
from changeover.cli.options import CONTROL, Control, Output, grouped, speaks_to
from changeover.cli.output import Format, say, show, size, table
from changeover.client.upload import packed
from changeover.rollout.plan import Plan, parse_plan
from changeover.rollout.quantities import seconds

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
    from changeover.workbench.tuning import report
    from changeover.workbench.tuning.tune import tune as tuned

    model = model_path(path)
    if left.write is not None and left.write.exists() and any(left.write.iterdir()):
        raise Usage(f"--write: {left.write} is not empty")
    before = _plan_beside(model, plan)
    text = before.read_text("utf-8") if before is not None else ""
    base = parse_plan(text, str(before)) if before is not None else Plan()
    wish = _wish(bounds, tried, model, base)
    with tempfile.TemporaryDirectory(prefix="changeover-tuned-") as name:
        found = tuned(model, wish, Path(name), say)
        document = {"model": str(model), "plan": str(before) if before is not None else None, **found.document}
        version = left.write or Path(name) / "version"
        if left.write is not None or (left.propose is not None and not found.kept):
            report.write(version, model, found.model, report.plan_text(document["runtime"], text))
        if left.write is not None:
            say(f"the version is in {left.write}")
        if left.propose is not None:
            document["proposed"] = None if found.kept else _pushed(left.propose, version, control)
    if left.picture is not None:
        _draw(document, left.picture)
    show(document, output, lambda: tune_table(document))
    return Exit.DONE


def _wish(bounds: Bounds, tried: Tried, model: Path, base: Plan) -> Any:
    from changeover.workbench.tuning.wish import Wish

    return Wish(
        objective=bounds.objective.value,
        budget=_budget(bounds.budget),
        golden=bounds.golden or _golden_beside(model),
        requests=bounds.requests,
        min_accuracy=bounds.min_accuracy,
        max_difference=bounds.max_difference,
        space=_space(tried),
        base=base.runtime,
        cores=len(os.sched_getaffinity(0)),
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


def _plan_beside(model: Path, given: Path | None) -> Path | None:
    """The plan that was named, else the one that a repository has for this version."""
    if given is not None or model.name != "model.onnx":
        return given
    places = (folder / "model.yaml" for folder in (model.parent, model.parent.parent))
    return next((place for place in places if place.is_file()), None)


def _golden_beside(model: Path) -> Path | None:
    if model.name != "model.onnx":
        return None
    places = (folder / "golden" for folder in (model.parent, model.parent.parent))
    return next((place for place in places if place.is_dir()), None)


def _pushed(name: str, version: Path, control: str) -> Document:
    with tempfile.TemporaryFile() as room:
        body, content_type = packed(version, None, room)
        with body:
            return ControlClient(control, timeout=60.0).push(name, body, content_type)


def _draw(document: Document, place: Path) -> None:
    from changeover.workbench.tuning.pareto import page, picture

    svg = picture(document)
    place.write_text(page(document, svg) if place.suffix == ".html" else svg, "utf-8")
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
