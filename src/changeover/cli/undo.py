"""`changeover undo`: the way back."""

from __future__ import annotations

from changeover.cli.client import ControlClient
from changeover.cli.exits import Exit
from changeover.cli.options import CONTROL, Control, ModelName, Output, speaks_to
from changeover.cli.output import Format, show
from changeover.cli.rollouts import rollout_table


@speaks_to()
def undo(name: ModelName, control: Control = CONTROL, output: Output = Format.TABLE) -> int:
    """Give all traffic back to the previous version, while it is kept warm (the undo window).

    For example:

        changeover undo digits
    """
    rollout = ControlClient(control, timeout=60.0).undo(name)
    show(rollout, output, lambda: rollout_table(rollout))
    return Exit.DONE
