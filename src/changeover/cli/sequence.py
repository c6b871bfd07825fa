"""`changeover sequence …`: the live sequences of a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType

from changeover.cli.client import ControlClient
from changeover.cli.exits import Exit, Usage
from changeover.cli.options import CONTROL, Control, ModelName, Output, looks, speaks_to
from changeover.cli.output import Format, pairs, show, size, table

Document = dict[str, Any]
Name = Annotated[str, typer.Argument(metavar="ID", help="Id of the sequence: 42 is a number, '\"42\"' a text.")]

app = typer.Typer(help="The live sequences of a model.", no_args_is_help=True)


@app.command("list")
@looks
def list_sequences(name: ModelName, control: Control = CONTROL, output: Output = Format.TABLE) -> int:
    """List the live sequences: whose state they have, how many steps, how long without one.

    For example:

        changeover sequence list forecast
    """
    found = ControlClient(control).sequences(name)
    show(found, output, lambda: list_table(found))
    return Exit.DONE


@app.command("show")
@speaks_to()
def show_sequence(name: ModelName, sequence: Name, control: Control = CONTROL, output: Output = Format.TABLE) -> int:
    """Show one sequence with its states.

    For example:

        changeover sequence show forecast 42
    """
    found = ControlClient(control).sequence(name, identity(sequence))
    show(found, output, lambda: one_table(found))
    return Exit.DONE


@app.command("end")
@speaks_to()
def end_sequence(name: ModelName, sequence: Name, control: Control = CONTROL, output: Output = Format.TABLE) -> int:
    """End a sequence without a step: its client's next one is refused.

    For example:

        changeover sequence end forecast 42
    """
    ended = ControlClient(control).end_sequence(name, identity(sequence))
    show(ended, output, lambda: changed(ended))
    return Exit.DONE


@app.command("export")
@speaks_to()
def export_sequence(name: ModelName, sequence: Name, control: Control = CONTROL) -> int:
    """Print a sequence with its state as JSON, for `changeover sequence import`; it goes on.

    For example:

        changeover sequence export forecast 42 > 42.json
    """
    document = ControlClient(control, timeout=60.0).export_sequence(name, identity(sequence))
    show(document, Format.JSON, str)
    return Exit.DONE


@app.command("import")
@speaks_to()
def import_sequence(
    name: ModelName,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `export` printed.")],
    control: Control = CONTROL,
    output: Output = Format.TABLE,
) -> int:
    """Bring an exported sequence into the active version, of this server or another.

    For example:

        changeover sequence import forecast 42.json
    """
    try:
        document = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise Usage(f"{file} is no exported sequence: {error}") from None
    if not isinstance(document, dict):
        raise Usage(f"{file} is no exported sequence")
    done = ControlClient(control, timeout=60.0).import_sequence(name, document)
    show(done, output, lambda: changed(done))
    return Exit.DONE


def identity(text: str) -> int | str:
    """Return the id that a word stands for: digits are a number, a text in double quotes is that text."""
    if text.isascii() and text.isdigit():
        return int(text)
    if len(text) > 1 and text[0] == text[-1] == '"':
        return text[1:-1]
    return text


def list_table(found: Document) -> RenderableType:
    """Return one line a sequence."""
    if not found["sequences"]:
        return f"no live sequence of {found['model']}"
    made = table("sequence", "version", "steps", "since it came", "idle", "state")
    for row in found["sequences"]:
        counts = str(row["steps"]), str(row["since"])
        made.add_row(_word(row["id"]), row["version"], *counts, f"{row['idle_s']:g} s", size(row["bytes"]))
    most = ", ".join(f"version {version} takes {most}" for version, most in found["max"].items())
    return Group(made, "", f"{found['live']} live; {most}")


def one_table(found: Document) -> RenderableType:
    """Return one sequence and its states."""
    row = found["sequence"]
    head = pairs(
        [
            ("sequence", _word(row["id"])),
            ("model", f"{found['model']}, version {row['version']}"),
            ("steps", f"{row['steps']}, {row['since']} of them since its state came from elsewhere"),
            ("idle", f"{row['idle_s']:g} s"),
            ("kept inputs", found["kept"] or None),
        ]
    )
    states = table("state", "type", "shape")
    for state in found["states"]:
        states.add_row(state["name"], state["datatype"], str(state["shape"]))
    return Group(head, "", states)


def changed(document: Document) -> str:
    """Return what became of a sequence, as a sentence."""
    return f"{_word(document['id'])} of {document['model']}: {document['became']} in version {document['version']}"


def _word(name: int | str) -> str:
    """An id as `identity` reads it."""
    return f'"{name}"' if isinstance(name, str) and name.isdigit() else str(name)
