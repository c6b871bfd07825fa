"""Options that many commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from changeover.cli.output import Format

Control = Annotated[
    str,
    typer.Option("--control", envvar="CHANGEOVER_CONTROL", metavar="URL", help="Control port of the server."),
]
Output = Annotated[Format, typer.Option("--output", "-o", help="Form of the result on stdout.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for the rollout's end; exit 0 only on success.")]
Timeout = Annotated[float, typer.Option("--timeout", min=0, metavar="S", help="Longest wait in seconds (exit 3).")]
ModelName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the model.")]

CONTROL = "http://127.0.0.1:8002"
TIMEOUT = 1800.0
