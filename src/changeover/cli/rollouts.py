"""Rollouts as people see them, and waiting for one."""

from __future__ import annotations

import time
from collections.abc import Iterator

from rich.console import Group, RenderableType

from changeover.cli.client import ControlClient
from changeover.cli.exits import Exit
from changeover.cli.output import pairs, table
from changeover.client.ask import Document, Unreachable
from changeover.client.vigil import OnChange, Vigil

_VERDICTS = {
    "succeeded": Exit.DONE,
    "watching": Exit.DONE,  # promoted: the new version has all traffic, the old one is only kept warm
    "rolled_back": Exit.REFUSED,
    "failed": Exit.FAILED,
}
_PATIENCE_S = 10.0  # the controller may be replaced while we wait


def exit_of(rollout: Document) -> Exit | None:
    """Return the exit code that a rollout's phase stands for, None while it is under way."""
    return _VERDICTS.get(str(rollout["phase"]))


def follow(client: ControlClient, rollout_id: str, patience: float = _PATIENCE_S) -> Iterator[Document | None]:
    """Yield the rollout as often as the caller looks, None where the control port gives no answer.

    Raises:
        Unreachable: the control port was silent for `patience` seconds.
    """
    heard = time.monotonic()
    while True:
        try:
            found = client.rollout(rollout_id)
        except Unreachable:
            if time.monotonic() - heard > patience:
                raise
            yield None
        else:
            heard = time.monotonic()
            yield found


def wait_for(client: ControlClient, rollout_id: str, timeout: float, on_change: OnChange | None = None) -> Document:
    """Return the rollout once its outcome is known; `on_change` sees it at each new phase and step.

    Raises:
        DeadlineExceeded: still under way after `timeout` seconds; it goes on without the caller.
        Unreachable: the control port was silent for ten seconds.
    """
    vigil = Vigil(rollout_id, timeout, on_change)
    for rollout in follow(client, rollout_id, min(_PATIENCE_S, timeout)):
        if vigil.over(rollout) and rollout is not None:
            return rollout
        time.sleep(vigil.pause())
    raise AssertionError  # it follows for ever


def version_of(reference: Document | None) -> str:
    """Return a version with the beginning of its digest: `4@ab12`."""
    return f"{reference['version']}@{reference['digest'][:4]}" if reference else "nothing"


def way_of(rollout: Document) -> str:
    """Return from where to where: `3@cd34 → 4@ab12`."""
    return f"{version_of(rollout['from'])} → {version_of(rollout['to'])}"


def percent(buckets: float) -> str:
    """Return a count of buckets (of 10,000) as a share, written as in a plan: `5%`."""
    return f"{buckets / 100:.4g}%"


def sentence(rollout: Document) -> str:
    """Return a rollout in one line."""
    way = f"{rollout['from']['version'] if rollout['from'] else 'nothing'} → {rollout['to']['version']}"
    step = rollout.get("step")
    at = f" {step['name']} (step {step['index']} of {step['of']})" if step and exit_of(rollout) is None else ""
    why = f": {rollout['detail'] or rollout['reason']}" if rollout.get("reason") else ""
    return f"{rollout['id']} {rollout['model']} {way} {rollout['phase']}{at}{why}"


def rollout_table(rollout: Document) -> RenderableType:
    """Return a rollout with its gates."""
    step, weight, ruling = rollout.get("step"), rollout.get("weight"), rollout.get("ruling")
    head = pairs(
        [
            ("rollout", rollout["id"]),
            ("model", rollout["model"]),
            ("versions", way_of(rollout)),
            ("phase", rollout["phase"]),
            ("step", f"{step['name']}, {step['index']} of {step['of']}" if step else None),
            ("weight", percent(weight["set"]) if weight else None),
            ("verdict", f"{ruling['verdict']}: {ruling['detail']}" if ruling and ruling.get("detail") else None),
            ("reason", rollout.get("reason")),
            ("detail", rollout.get("detail")),
            ("started", rollout["started"]),
            ("updated", rollout["updated"]),
            ("undo until", rollout.get("undo_until")),
        ]
    )
    gates = gates_table(rollout)
    return Group(head, "", gates) if gates else head


def gates_table(rollout: Document) -> RenderableType | None:
    """Return what the gates said, None as long as there was none."""
    if not rollout.get("gates"):
        return None
    gates = table("gate", "result", "detail")
    for gate in rollout["gates"]:
        gates.add_row(gate["gate"], gate["result"], str(gate.get("detail") or ""))
    return gates
