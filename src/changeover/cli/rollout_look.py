"""`changeover rollout status | list | history | explain`: where rollouts are, where they were, and why."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from changeover.cli.client import ControlClient
from changeover.cli.exits import Exit
from changeover.cli.options import CONTROL, TIMEOUT, Control, ModelName, Output, Timeout, Wait, looks
from changeover.cli.output import Format, say, show, table
from changeover.cli.rollouts import (
    exit_of,
    percent,
    rollout_table,
    sentence,
    version_of,
    wait_for,
    way_of,
)
from changeover.client.ask import Document

RolloutId = Annotated[str | None, typer.Argument(metavar="[ROLLOUT]", help="Such as r-000003; default: the latest.")]


@looks
def status(
    name: ModelName,
    wait: Wait = False,
    timeout: Timeout = TIMEOUT,
    control: Control = CONTROL,
    output: Output = Format.TABLE,
) -> int:
    """Show a model's present or latest rollout.

    With --wait: exit 0 when the new version has the traffic, 1 when it was rolled back, 2 when the rollout failed (a
    gate refused the version, for example), 3 at the timeout. Without: exit 0.

    For example:

        changeover rollout status digits

        changeover rollout status digits --wait --timeout 120
    """
    client = ControlClient(control)
    document = client.status(name)
    if wait and exit_of(document) is None:
        document = wait_for(client, document["id"], timeout, lambda r: say(sentence(r)))
    show(document, output, lambda: rollout_table(document))
    return (exit_of(document) or Exit.DONE) if wait else Exit.DONE


@looks
def list_rollouts(control: Control = CONTROL, output: Output = Format.TABLE) -> int:
    """List every model's present or latest rollout.

    For example:

        changeover rollout list

        changeover rollout list -o json
    """
    found = [model["rollout"] for model in ControlClient(control).models() if model.get("rollout")]
    show({"rollouts": found}, output, lambda: _list_table(found))
    return Exit.DONE


@looks
def history(
    name: ModelName, rollout: RolloutId = None, control: Control = CONTROL, output: Output = Format.TABLE
) -> int:
    """Show a model's rollouts, newest first; or what one of them went through.

    For example:

        changeover rollout history digits

        changeover rollout history digits r-000003
    """
    client = ControlClient(control)
    if rollout is None:
        found = client.history(name)
        show({"rollouts": found}, output, lambda: _history_table(found))
    else:
        document = client.rollout(rollout)
        show(document, output, lambda: moments_table(document))
    return Exit.DONE


@looks
def explain(
    name: ModelName, rollout: RolloutId = None, control: Control = CONTROL, output: Output = Format.TABLE
) -> int:
    """Say in sentences why a rollout is where it is, with the numbers that it rests on.

    For example:

        changeover rollout explain digits

        changeover rollout explain digits r-000003 -o json
    """
    client = ControlClient(control)
    document = client.explain(rollout or client.status(name)["id"])
    show(document, output, lambda: Text("\n".join(document["sentences"])))
    return Exit.DONE


def moments_table(rollout: Document) -> RenderableType:
    """Return what a rollout went through, oldest first."""
    moments = table("time", "phase", "step", "by", "why")
    for moment in rollout["history"]:
        cells = (moment["phase"], moment.get("step") or "-", moment.get("by") or "-", moment.get("detail") or "")
        moments.add_row(clock_of(moment["at"]), *cells)
    return moments


def clock_of(moment: str) -> str:
    """Return a time as people say it, to the second: `2026-01-31 12:00:02`, in UTC."""
    return moment[:19].replace("T", " ")


def _list_table(rollouts: list[Document]) -> RenderableType:
    if not rollouts:
        return "no rollouts yet: one starts with `changeover push NAME FILE`"
    made = table("model", "rollout", "versions", "phase", "step", "weight", "since", "why")
    for rollout in rollouts:
        step, weight = rollout.get("step"), rollout.get("weight")
        made.add_row(
            rollout["model"],
            rollout["id"],
            way_of(rollout),
            rollout["phase"],
            f"{step['name']} ({step['index']}/{step['of']})" if step else "-",
            percent(weight["set"]) if weight else "-",
            clock_of(rollout["updated"]),
            str(rollout.get("detail") or rollout.get("reason") or ""),
        )
    return made


def _history_table(rollouts: list[Document]) -> RenderableType:
    made = table("rollout", "from", "to", "phase", "started", "ended", "why")
    for rollout in rollouts:
        made.add_row(
            rollout["id"],
            version_of(rollout["from"]),
            version_of(rollout["to"]),
            rollout["phase"],
            clock_of(rollout["started"]),
            clock_of(rollout["ended"]) if rollout.get("ended") else "-",
            str(rollout.get("detail") or rollout.get("reason") or ""),
        )
    return made
