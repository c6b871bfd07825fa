"""`changeover rollout …`: a version on its way to the traffic."""

from __future__ import annotations

import typer

from changeover.cli.client import ControlClient
from changeover.cli.exits import Exit
from changeover.cli.options import CONTROL, TIMEOUT, Control, ModelName, Output, Timeout, Wait, speaks_to
from changeover.cli.output import Format, say, show
from changeover.cli.rollouts import exit_of, rollout_table, sentence, wait_for

app = typer.Typer(help="Versions on their way to the traffic.", no_args_is_help=True)


@app.callback()
def rollout() -> None:
    """Versions on their way to the traffic."""


@app.command()
@speaks_to()
def status(
    name: ModelName,
    wait: Wait = False,
    timeout: Timeout = TIMEOUT,
    control: Control = CONTROL,
    output: Output = Format.TABLE,
) -> int:
    """Show a model's present or latest rollout.

    With --wait: exit 0 when the new version has the traffic, 1 when it was refused or taken back, 3 at the timeout.

    For example:

        changeover rollout status digits

        changeover rollout status digits --wait --timeout 120
    """
    client = ControlClient(control)
    document = client.rollout(name)
    if wait and exit_of(document) is None:
        document = wait_for(client, document["id"], timeout, lambda r: say(sentence(r)))
    show(document, output, lambda: rollout_table(document))
    return (exit_of(document) or Exit.DONE) if wait else Exit.DONE
