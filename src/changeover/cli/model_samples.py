"""`changeover model samples NAME --to FILE`: what clients asked lately, to calibrate or tune a model with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from changeover.cli.client import ControlClient
from changeover.cli.exits import Exit, Usage
from changeover.cli.options import CONTROL, Control, ModelName, Output, speaks_to
from changeover.cli.output import Format, pairs, show
from changeover.client.ask import control_path, post

_TIMEOUT = 60.0
_OWNER_ONLY = 0o600


@speaks_to()
def samples(
    name: ModelName,
    to: Annotated[Path, typer.Option(metavar="FILE", help="The .npz that is written.")],
    control: Control = CONTROL,
    output: Output = Format.TABLE,
) -> int:
    """Write the inputs of recent requests into an .npz that only you can read. Nothing is kept of a private model.

    For example:

        changeover model samples digits --to requests.npz
    """
    answer = ControlClient(control, timeout=_TIMEOUT).download(post(control_path("models", name, "samples")))
    try:
        to.touch(_OWNER_ONLY)
        if to.is_file():
            to.chmod(_OWNER_ONLY)  # also where there was such a file
        to.write_bytes(answer.body)
    except OSError as error:
        raise Usage(f"--to {to}: {error.strerror}") from None
    counts = {word: int(answer.headers[f"changeover-{word}"]) for word in ("samples", "seen", "left-out")}
    document = {"model": name, "file": str(to), **{word.replace("-", "_"): n for word, n in counts.items()}}
    rows = [("model", name), ("file", to), ("samples", f"{counts['samples']} of {counts['seen']:,} requests seen")]
    show(document, output, lambda: pairs([*rows, ("left out", counts["left-out"] or None)]))
    return Exit.DONE
