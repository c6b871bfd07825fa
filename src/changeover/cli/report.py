"""`changeover report`: a rollout as one page that needs nothing else, for the mail to whoever approves changes."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from changeover.cli.client import ControlClient
from changeover.cli.exits import Exit, Usage
from changeover.cli.options import CONTROL, Control, looks
from changeover.cli.output import say
from changeover.cli.report_page import page
from changeover.errors import NotFound

Document = dict[str, Any]
To = Annotated[
    Path | None, typer.Option("--to", metavar="FILE", help="File to write; `-` for stdout. Default: ROLLOUT.html.")
]


@looks
def report(
    rollout: Annotated[str, typer.Argument(metavar="ROLLOUT", help="Id of the rollout, such as r-000003.")],
    to: To = None,
    control: Control = CONTROL,
) -> int:
    """Write a rollout as one HTML page: what changed, gates, steps, verdicts, certificate.

    The page needs no other file and no network, suits light and dark screens, and can be printed.

    For example:

        changeover report r-000003

        changeover report r-000003 --to change-4711.html
    """
    client = ControlClient(control)
    text = page(client.rollout(rollout), _certificate(client, rollout), datetime.now(UTC))
    if to is not None and str(to) == "-":
        sys.stdout.write(text)
        return Exit.DONE
    file = to or Path(f"{rollout}.html")
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Usage(f"{file} cannot be written: {error.strerror}") from None
    say(f"{file}: {len(text) // 1024 + 1} kB")
    return Exit.DONE


def _certificate(client: ControlClient, rollout: str) -> Document | None:
    """The certificate; None as long as there is none."""
    try:
        return client.certificate(rollout)
    except NotFound as error:
        if error.reason != "certificate_not_ready":
            raise
        return None
