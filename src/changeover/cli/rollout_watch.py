"""`changeover rollout watch`: a rollout while it goes on, as a live picture or as lines."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated

import typer
import yaml
from rich.live import Live

from changeover.cli.board import fitted, line
from changeover.cli.client import ControlClient
from changeover.cli.exits import Exit
from changeover.cli.options import CONTROL, TIMEOUT, Control, ModelName, Output, Timeout, looks
from changeover.cli.output import Format, console
from changeover.cli.rollouts import exit_of, follow
from changeover.client.ask import Document
from changeover.client.vigil import place_of, too_late

_LOOK_S = 0.5
_LINE_S = 10.0
"""Seconds after which a line is printed although nothing has changed, so that a log shows life."""

Through = Annotated[bool, typer.Option("--undo-window", help="Go on to the end of the undo window.")]


@looks
def watch(
    name: ModelName,
    through: Through = False,
    timeout: Timeout = TIMEOUT,
    control: Control = CONTROL,
    output: Output = Format.TABLE,
) -> int:
    """Watch a model's present or latest rollout until its outcome is known.

    In a terminal a live picture; elsewhere a line at each change and every ten seconds; with -o json or yaml a document
    at each change. Exit 0 when the new version has the traffic, 1 when it was rolled back, 2 when the rollout failed,
    3 at the timeout.

    For example:

        changeover rollout watch digits

        changeover rollout watch digits --undo-window
    """
    client = ControlClient(control)
    rollout = client.status(name)
    seen = _seen(client, rollout, through, timeout)
    if output is Format.TABLE and sys.stdout.isatty():
        return _live(seen)
    return _lines(seen, output)


def _seen(client: ControlClient, first: Document, through: bool, timeout: float) -> Iterator[tuple[Document, float]]:
    """Yield the rollout at every look, with the seconds since the server last answered; the last one has ended.

    Raises:
        DeadlineExceeded: it has not after `timeout` seconds.
    """
    begun = heard = time.monotonic()
    rollout = first
    yield rollout, 0.0
    if _over(rollout, through):
        return
    for found in follow(client, first["id"]):
        now = time.monotonic()
        if found is not None:
            rollout, heard = found, now
        yield rollout, now - heard
        if found is not None and _over(rollout, through):
            return
        if now - begun >= timeout:
            raise too_late(rollout["id"], rollout["phase"], timeout)
        time.sleep(min(_LOOK_S, max(0.0, begun + timeout - now)))


def _over(rollout: Document, through: bool) -> bool:
    return exit_of(rollout) is not None and not (through and rollout["phase"] == "watching")


def _live(seen: Iterator[tuple[Document, float]]) -> int:
    screen = console()
    code = None
    with Live(console=screen, auto_refresh=False) as live:
        for rollout, silent_s in seen:
            live.update(fitted(rollout, datetime.now(UTC), screen, silent_s), refresh=True)
            code = exit_of(rollout)
    return code or Exit.DONE


def _lines(seen: Iterator[tuple[Document, float]], output: Format) -> int:
    shown: tuple[object, ...] | None = None
    printed = 0.0
    code = None
    for rollout, _ in seen:
        now = time.monotonic()
        if _news(rollout) != shown or (output is Format.TABLE and now - printed >= _LINE_S):
            shown, printed = _news(rollout), now
            print(_as_text(rollout, output), flush=True)
        code = exit_of(rollout)
    return code or Exit.DONE


def _news(rollout: Document) -> tuple[object, ...]:
    """What makes a new line when it changes: the place, the weight that is set, the verdict."""
    ruling, weight = rollout.get("ruling") or {}, rollout.get("weight") or {}
    return *place_of(rollout), weight.get("set"), ruling.get("verdict"), rollout.get("reason")


def _as_text(rollout: Document, output: Format) -> str:
    if output is Format.JSON:
        return json.dumps(rollout, ensure_ascii=False)
    if output is Format.YAML:
        return "---\n" + yaml.safe_dump(rollout, sort_keys=False, allow_unicode=True).rstrip()
    return f"{datetime.now(UTC):%H:%M:%S} {line(rollout)}"
