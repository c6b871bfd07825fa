"""`changeover model …`: the models of a server, and model files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer
from rich.console import Group, RenderableType

from changeover.cli import model_convert, model_diff, model_optimize, model_samples, model_tune
from changeover.cli.client import ControlClient
from changeover.cli.exits import Exit
from changeover.cli.options import CONTROL, Control, ModelName, Output, looks
from changeover.cli.output import Format, pairs, show, table
from changeover.cli.status import versions_table

Document = dict[str, Any]

app = typer.Typer(help="The models of a server, and model files.", no_args_is_help=True)
app.command()(model_diff.diff)
app.command()(model_optimize.optimize)
app.command()(model_convert.convert)
app.command()(model_samples.samples)
app.command()(model_tune.tune)


@app.command("list")
@looks
def list_models(control: Control = CONTROL, output: Output = Format.TABLE) -> int:
    """List the models with their versions.

    For example:

        changeover model list

        changeover model list -o json
    """
    models = ControlClient(control).models()
    show({"models": models}, output, lambda: _list_table(models))
    return Exit.DONE


@app.command()
@looks
def inspect(name: ModelName, control: Control = CONTROL, output: Output = Format.TABLE) -> int:
    """Show one model: inputs, outputs, every version with its digest and state.

    For example:

        changeover model inspect digits
    """
    model = ControlClient(control).model(name)
    show(model, output, lambda: _inspect_table(model))
    return Exit.DONE


def _list_table(models: list[Document]) -> RenderableType:
    if not models:
        return "no models yet: add NAME/1/model.onnx to the repository, or `changeover push NAME FILE`"
    made = table("model", "state", "active", "versions")
    for model in models:
        names = ", ".join(f"{version['name']} {version['state']}" for version in model["versions"])
        made.add_row(model["name"], model["state"], str(model["active"] or "-"), names)
    return made


def _options(section: Document, above: str) -> Iterator[tuple[str, str]]:
    """Every option of the version that serves, those of its session too."""
    for name, value in section.items():
        if isinstance(value, dict) and not above.endswith("session."):
            yield from _options(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _inspect_table(model: Document) -> RenderableType:
    tensors = table("tensor", "name", "datatype", "shape")
    for kind, key in (("input", "inputs"), ("output", "outputs")):
        for tensor in model[key]:
            tensors.add_row(kind, tensor["name"], tensor["datatype"], str(tensor["shape"]))
    digests = table("version", "digest")
    for version in model["versions"]:
        digests.add_row(version["name"], version["digest"])
    head = pairs([("model", model["name"]), ("state", model["state"]), ("epoch", model["epoch"])])
    options = pairs(_options(model.get("runtime") or {}, "runtime."))
    return Group(head, "", tensors, "", options, "", versions_table(model["versions"]), "", digests)
