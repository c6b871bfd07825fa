"""Remarks on the section `sequence` of a plan: what becomes of live sequences, there and back. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.rollout.plan_rollout import RolloutPlan
from changeover.rollout.remark import Remark
from changeover.sequences.mapping import inverse
from changeover.sequences.section import Declared


def of_sequence(declared: Declared, rollout: RolloutPlan) -> Iterator[Remark]:
    """What a second reader would ask."""
    way = declared.on_changeover
    if way == "map":
        yield from _of_map(declared)
    elif declared.map or declared.map_back is not None:
        path = "$.sequence.map" if declared.map else "$.sequence.map_back"
        yield Remark(path, f"with on_changeover {way} no step of a map is used")
    if way == "reset":
        yield Remark(
            "$.sequence.on_changeover", "live sequences lose their state when this version takes over, and when it goes"
        )
    if way == "replay":
        yield Remark(
            "$.sequence.on_changeover",
            f"the version that serves before must have kept the last {declared.kept} inputs, too: sequence.replay",
        )
    if way == "drain" and rollout.undo_window:
        yield Remark(
            "$.sequence.on_changeover", "the version before stays until the last sequence that it began has ended"
        )
    if way != "replay" and declared.replay and declared.way_back != "replay":
        yield Remark("$.sequence.replay", f"the inputs of {declared.replay} steps are kept, and this plan replays none")


def _of_map(declared: Declared) -> Iterator[Remark]:
    if not declared.map:
        yield Remark("$.sequence.on_changeover", "a map without steps moves states as they are, like carry")
    if declared.way_back == "map":
        return
    kinds = sorted({step.kind for step in declared.map if inverse([step]) is None})
    back = {
        "replay": f"a rollback replays the last {declared.kept} inputs in the version before",
        "drain": "a rollback takes no live sequence back: those that have moved stay, and end where they are",
    }[declared.way_back]
    yield Remark("$.sequence.map", f"{' and '.join(kinds)} cannot be undone and map_back is not declared, so {back}")
