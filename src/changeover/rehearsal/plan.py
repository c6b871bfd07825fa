"""The plan that a rehearsal runs: the model's own, with what was asked for by name and nothing else changed."""

from __future__ import annotations

from dataclasses import dataclass

import yaml

from changeover.errors import InvalidPlan
from changeover.rollout.plan import Plan, parse_plan

MEMORY_LIMIT = 512 << 20
"""Bytes: for a plan without a limit of its own, since a leak has to end before the machine's memory does."""


@dataclass(frozen=True, slots=True)
class Script:
    """A plan as it is rehearsed.

    Attributes:
        text: of `model.yaml`.
        changes: sentences on what differs from the plan that was given.
    """

    text: str
    plan: Plan
    changes: tuple[str, ...]


def script(text: str, name: str, hold: str | None) -> Script:
    """Return the plan to rehearse.

    Args:
        text: of the plan as given.
        name: of its file, for messages.
        hold: the least time at each step, instead of the plan's own.

    Raises:
        InvalidPlan: of the plan, or of `hold`.
    """
    given = parse_plan(text, name)
    tree = yaml.safe_load(text) or {}
    changes = [] if text else ["no model.yaml stands beside the version: the default plan is rehearsed"]
    if hold is not None:
        _set_hold(tree.setdefault("rollout", {}), hold)
        changes.append(f"every step is held for {hold}")
    if given.runtime.memory_limit is None:
        tree["runtime"] = {**(tree.get("runtime") or {}), "memory_limit": MEMORY_LIMIT}
        changes.append(f"the plan has no runtime.memory_limit: {MEMORY_LIMIT >> 20} MiB")
    changed = yaml.safe_dump(tree, sort_keys=False)
    return Script(changed, parse_plan(changed, f"{name} with the changes of the rehearsal"), tuple(changes))


def _set_hold(rollout: dict[str, object], hold: str) -> None:
    """The plan's hold and those of single steps."""
    rollout["hold"] = hold
    steps = rollout.get("steps")
    if isinstance(steps, list):
        for step in steps:
            if isinstance(step, dict) and "hold" in step:
                step["hold"] = hold


def memory_limit(plan: Plan) -> int:
    """Return the limit of a rehearsed plan, which always has one.

    Raises:
        InvalidPlan: it has none.
    """
    if plan.runtime.memory_limit is None:
        raise InvalidPlan("a rehearsed plan needs runtime.memory_limit")
    return plan.runtime.memory_limit
