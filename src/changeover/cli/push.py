"""`changeover push`: bring a new version to a running server."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from changeover.cli.client import ControlClient
from changeover.cli.exits import Exit, Usage
from changeover.cli.options import CONTROL, Control, ModelName, Output, Waiting, grouped, speaks_to
from changeover.cli.output import Format, pairs, say, show
from changeover.cli.rollouts import exit_of, rollout_table, sentence, wait_for
from changeover.client.ask import InvalidClient
from changeover.client.upload import packed


@dataclass(frozen=True, slots=True)
class Pushed:
    """What is pushed, and as what."""

    file: Annotated[
        Path, typer.Argument(metavar="FILE", exists=True, help="An .onnx file, a version's folder, or a .tar of one.")
    ]
    version: Annotated[str | None, typer.Option(help="Number of the version; default: one more than the last.")] = None
    plan: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="A model.yaml for it.")] = None


@speaks_to()
@grouped
def push(
    name: ModelName,
    what: Pushed,
    waiting: Waiting,
    control: Control = CONTROL,
    output: Output = Format.TABLE,
) -> int:
    """Bring a new version of a model to the server and start its rollout.

    The version is checked, loaded beside the serving one, and takes over as its plan says, if nothing speaks against
    it. With --wait: exit 0 when it has the traffic, 1 when it was refused or taken back, 3 at the timeout.

    For example:

        changeover push digits digits_v2.onnx --wait

        changeover push digits exported/ --version 7 --plan canary.yaml
    """
    client = ControlClient(control, timeout=60.0)
    with tempfile.TemporaryFile() as room:
        try:
            body, content_type = packed(what.file, what.plan.read_bytes() if what.plan else None, room)
        except InvalidClient as error:
            raise Usage(error.message) from None
        with body:
            pushed = client.push(name, body, content_type, what.version)
    if not waiting.wait or not pushed.get("rollout"):
        show(pushed, output, lambda: _pushed_table(pushed))
        return Exit.DONE
    say(f"{name} version {pushed['version']} stored, rollout {pushed['rollout']}")
    rollout = wait_for(client, pushed["rollout"], waiting.timeout, lambda r: say(sentence(r)))
    show(rollout, output, lambda: rollout_table(rollout))
    return Exit.DONE if exit_of(rollout) is Exit.DONE else Exit.REFUSED  # the version, by a gate or by the judge


def _pushed_table(pushed: dict[str, Any]) -> Any:
    follow = f"changeover rollout status {pushed['model']} --wait"
    return pairs(
        [
            ("model", pushed["model"]),
            ("version", pushed["version"]),
            ("digest", pushed["digest"]),
            ("rollout", pushed.get("rollout") or "none (rollout.auto is off)"),
            ("follow", follow if pushed.get("rollout") else None),
        ]
    )
