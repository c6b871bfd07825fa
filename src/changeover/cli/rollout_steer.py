"""`changeover rollout start | pause | resume | weight | promote | abort`: what people ask of a rollout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from changeover.cli.client import ControlClient
from changeover.cli.exits import Exit, Usage
from changeover.cli.options import CONTROL, Control, ModelName, Output, Waiting, grouped, speaks_to
from changeover.cli.output import Format, say, show
from changeover.cli.rollouts import exit_of, rollout_table, sentence, wait_for
from changeover.client.ask import Document
from changeover.errors import InvalidPlan
from changeover.rollout.yaml_text import read_yaml

_SWITCHES_WITHIN = 60.0
"""Seconds: an answer comes when the traffic has moved, and a gateway that is silent is replaced first."""


@dataclass(frozen=True, slots=True)
class Aim:
    """Where a rollout is to go, and how."""

    version: Annotated[str, typer.Argument(metavar="VERSION", help="A version the server knows, such as 4 or 4@ab12.")]
    plan: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Fields of a model.yaml that count over its own.")
    ] = None


@speaks_to()
@grouped
def start(
    name: ModelName,
    aim: Aim,
    waiting: Waiting,
    control: Control = CONTROL,
    output: Output = Format.TABLE,
) -> int:
    """Start a rollout to a version that lies in the repository or was pushed before.

    While another rollout of the model is under way, this one waits for its end. With --wait: exit 0 when the version
    has the traffic, 1 when it was rolled back, 2 when it failed, 3 at the timeout.

    For example:

        changeover rollout start digits 2

        changeover rollout start digits 2 --plan slow.yaml --wait --timeout 3600
    """
    client = ControlClient(control, timeout=_SWITCHES_WITHIN)
    rollout = client.start(name, aim.version, _fields_of(aim.plan))
    if waiting.wait:
        rollout = wait_for(client, rollout["id"], waiting.timeout, lambda r: say(sentence(r)))
    show(rollout, output, lambda: rollout_table(rollout))
    return (exit_of(rollout) or Exit.DONE) if waiting.wait else Exit.DONE


@speaks_to()
def weight(
    name: ModelName,
    share: Annotated[str, typer.Argument(metavar="SHARE", help="Of the traffic, for the new version: 25%.")],
    control: Control = CONTROL,
    output: Output = Format.TABLE,
) -> int:
    """Give the new version this share of the traffic; answers when it has it.

    For example:

        changeover rollout weight digits 25%

        changeover rollout weight digits 0.5% -o json
    """
    return _steer(control, name, "weight", output, {"weight": share})


def _steer(control: str, name: str, verb: str, output: Format, body: Document | None = None) -> int:
    rollout = ControlClient(control, timeout=_SWITCHES_WITHIN).steer(name, verb, body)
    show(rollout, output, lambda: rollout_table(rollout))
    return Exit.DONE


def _plain(verb: str, help_text: str) -> Callable[..., int]:
    """Make the command of a verb that needs no more than a model's name."""

    def command(name: ModelName, control: Control = CONTROL, output: Output = Format.TABLE) -> int:
        return _steer(control, name, verb, output)

    command.__name__ = verb
    command.__doc__ = f"{help_text}\n\nFor example:\n\n    changeover rollout {verb} digits"
    return speaks_to()(command)


pause = _plain(
    "pause", "Stop a rollout where it is: its share of the traffic stays, and what is measured goes on being judged."
)
resume = _plain("resume", "Go on with a paused rollout, from the step it is at.")
promote = _plain("promote", "Give the new version all traffic now, whatever steps are left. Gates cannot be skipped.")
abort = _plain(
    "abort", "Take a rollout back: all traffic to the version that served before. After the promotion it is `undo`."
)


def _fields_of(plan: Path | None) -> Any:
    """Return what the file says; the server says what is wrong with it.

    Raises:
        Usage: it cannot be read as YAML.
    """
    if plan is None:
        return {}
    try:
        return read_yaml(plan.read_text(), str(plan))[0] or {}
    except InvalidPlan as error:
        raise Usage(f"--plan: {error.message}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise Usage(f"--plan: {plan} cannot be read: {error}") from None
