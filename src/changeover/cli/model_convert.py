"""`changeover model convert MODEL --precision P --to FILE`: a model file with other numbers inside."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType

from changeover.cli.exits import Exit, Usage
from changeover.cli.options import Output
from changeover.cli.output import Format, pairs, show, size


def convert(
    path: Annotated[str, typer.Argument(metavar="MODEL", help="Model file, or folder of a version.")],
    precision: Annotated[str, typer.Option(metavar="NAME", help="fp32, int8_dynamic, int8_static or fp16.")],
    to: Annotated[Path, typer.Option(metavar="FILE", help="The file that is written.")],
    samples: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="For int8_static: .npz with an array an input, as `model samples` writes."),
    ] = None,
    output: Output = Format.TABLE,
) -> int:
    """Write a model in another precision. Names, types and shapes of its inputs and outputs stay. Needs no server.

    For example:

        changeover model convert models/mnist/1 --precision int8_dynamic --to small.onnx

        changeover model convert model.onnx --precision int8_static --samples requests.npz --to small.onnx
    """
    from changeover.workbench.calibration import read_samples
    from changeover.workbench.described import described, model_path, read, signature
    from changeover.workbench.precision import converted

    model = model_path(path)
    old = described(model, read(model))
    rows = read_samples(samples, signature(old.inputs, old.outputs).inputs) if samples is not None else []
    try:
        converted(model, precision, to, rows)
    except OSError as error:
        raise Usage(f"--to {to}: {error.strerror or error}") from None
    document = {"model": str(model), "precision": precision, "samples": len(rows), "file": str(to),
                "bytes": {"before": old.bytes, "after": to.stat().st_size}}  # fmt: skip
    show(document, output, lambda: _told(document))
    return Exit.DONE


def _told(document: dict[str, Any]) -> RenderableType:
    sizes = f"{size(document['bytes']['before'])} → {size(document['bytes']['after'])}"
    rows = [("model", document["model"]), ("precision", document["precision"]), ("file", document["file"])]
    return pairs([*rows, ("samples", document["samples"] or None), ("size", sizes)])
