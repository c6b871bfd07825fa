"""Rollouts as people see them, and waiting for one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rich.console import Group, RenderableType

from changeover.cli.client import ControlClient, Unreachable
from changeover.cli.exits import Exit
from changeover.cli.output import pairs, table
from changeover.errors import DeadlineExceeded

Document = dict[str, Any]

_EXITS = {
    "succeeded": Exit.DONE,
    "watching": Exit.DONE,  # promoted: the new version has all traffic, the old one is only kept warm
    "rolled_back": Exit.REFUSED,
    "failed": Exit.REFUSED,
}
_POLL_S = 0.2
_PATIENCE_S = 10.0  # the controller may be replaced while we wait


def exit_of(rollout: Document) -> Exit | None:
    """Return the exit code that a rollout's phase stands for, None while it is under way."""
    return _EXITS.get(str(rollout["phase"]))


def wait_for(
    client: ControlClient, rollout_id: str, timeout: float, on_change: Callable[[Document], None] = lambda _: None
) -> Document:
    """Return the rollout once its outcome is known; `on_change` sees it at each new phase.

    Raises:
        DeadlineExceeded: still under way after `timeout` seconds; it goes on without the caller.
        Unreachable: the control port was silent for ten seconds.
    """
    deadline, phase, heard = time.monotonic() + timeout, None, time.monotonic()
    while True:
        try:
            rollout = client.rollout_by_id(rollout_id)
            heard = time.monotonic()
        except Unreachable:
            if time.monotonic() - heard > min(_PATIENCE_S, timeout):
                raise
        else:
            if rollout["phase"] != phase:
                phase = rollout["phase"]
                on_change(rollout)
            if exit_of(rollout) is not None:
                return rollout
        if time.monotonic() >= deadline:
            raise DeadlineExceeded(
                f"rollout {rollout_id} is still {phase or 'unknown'} after {timeout:g} s; it goes on: look again with "
                "`changeover rollout status NAME --wait`",
                reason="wait_timeout",
            )
        time.sleep(_POLL_S)


def sentence(rollout: Document) -> str:
    """Return a rollout in one line."""
    way = f"{rollout['from'] or 'nothing'} → {rollout['to']}"
    why = f": {rollout['detail'] or rollout['reason']}" if rollout.get("reason") else ""
    return f"{rollout['id']} {rollout['model']} {way} {rollout['phase']}{why}"


def rollout_table(rollout: Document) -> RenderableType:
    """Return a rollout with its gates."""
    head = pairs(
        [
            ("rollout", rollout["id"]),
            ("model", rollout["model"]),
            ("versions", f"{rollout['from'] or '-'} → {rollout['to']}"),
            ("phase", rollout["phase"]),
            ("reason", rollout.get("reason")),
            ("detail", rollout.get("detail")),
            ("started", rollout["started"]),
            ("updated", rollout["updated"]),
            ("undo until", rollout.get("undo_until")),
        ]
    )
    if not rollout.get("gates"):
        return head
    gates = table("gate", "result", "detail")
    for gate in rollout["gates"]:
        gates.add_row(gate["gate"], gate["result"], str(gate.get("detail") or ""))
    return Group(head, "", gates)
