"""What becomes of live sequences when another version takes over, and when it is taken back. Pure.

Two loadings are a pair; the *newer* one, with the higher number, declares how sequences move between them. Forward its
worker takes a state over (`taken`), back it hands a state out as the older version knows it (`handed`), so an older
version needs to know nothing of a newer one.

* `carry`: the state as it is, forward and back.
* `map`: forward by the declared steps; back by `map_back`, or by the inverse that the steps have. Where there is none:
  `replay` if inputs are kept, else `drain`.
* `replay`: the last inputs through the version that takes over, forward and back.
* `drain`: nothing moves; a sequence ends where it is.
* `reset`: from the initial state, forward and back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import yaml

from changeover.errors import ModelRejected
from changeover.sequences.declared import Declared, Layout, StateLayout
from changeover.sequences.mapping import Array, States, Tools, apply
from changeover.tensors import Datatype

_REPLAY: Final = 16
"""Steps that a proposal keeps the inputs of."""


def unfit(states: Mapping[str, Array], layout: Layout) -> list[str]:
    """Why states are not those of a layout, as sentences without a full stop; none when they are."""
    wanted = {state.input: state for state in layout.states}
    found = [f"there is no state {name!r}" for name in wanted.keys() - states.keys()]
    found += [f"there is a state {name!r} that this version does not have" for name in states.keys() - wanted.keys()]
    for name in wanted.keys() & states.keys():
        array, state = states[name], wanted[name]
        if array.dtype != Datatype[state.datatype].numpy:
            found.append(f"state {name!r} is {array.dtype} instead of {state.datatype}")
        if not _fits(array.shape, state.shape) or array.size > state.most:
            found.append(f"state {name!r} is {list(array.shape)} instead of {state.shape}")
    return sorted(found)


def differences(before: Layout, after: Layout) -> list[str]:
    """What differs between the states of two versions, as sentences without a full stop."""
    old, new = _by_name(before), _by_name(after)
    found = [f"state {name!r} {_told(old[name])} is gone" for name in old.keys() - new.keys()]
    found += [f"state {name!r} {_told(new[name])} is new" for name in new.keys() - old.keys()]
    for name in old.keys() & new.keys():
        was, now = old[name], new[name]
        if was.datatype != now.datatype or not _alike(was.shape, now.shape):
            found.append(f"state {name!r} is {_told(now)} instead of {_told(was)}")
    return sorted(found)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A declaration that would do.

    Attributes:
        sequence: members of the section `sequence`.
        why: a sentence on what it does.
    """

    sequence: dict[str, Any]
    why: str

    def __str__(self) -> str:
        text = yaml.safe_dump(self.sequence, default_flow_style=True, sort_keys=False, width=1000).strip()
        return f"sequence: {text} ({self.why})"


def proposal(before: Layout, after: Layout) -> Proposal:
    """A declaration for two versions whose states differ: a map where one can be guessed, else a replay."""
    steps = _guessed(before.states, after.states)
    if steps is None:
        return Proposal(
            {"on_changeover": "replay", "replay": _REPLAY},
            "the new version's state is made from the last inputs; or drain: sequences end where they began",
        )
    return Proposal(
        {"on_changeover": "map", "map": steps}, "a guess by names and sizes; the gate 'state' shows if it is right"
    )


def _guessed(before: Sequence[StateLayout], after: Sequence[StateLayout]) -> list[dict[str, Any]] | None:
    """Steps from one layout to another; None where states cannot be told apart, come from nowhere or change type."""
    pairs = _paired(before, after)
    if pairs is None:
        return None
    names = {was.input: now.input for was, now in pairs if was.input != now.input}
    steps: list[dict[str, Any]] = [{"rename": names}] if names else []
    for was, now in pairs:
        for axis, (size, wanted) in enumerate(zip(was.shape, now.shape, strict=True)):
            if -1 not in (size, wanted) and size != wanted:
                kind = "pad" if wanted > size else "crop"
                steps.append({kind: {now.input: {"axis": axis, "after": abs(wanted - size)}}})
    return steps


def _paired(
    before: Sequence[StateLayout], after: Sequence[StateLayout]
) -> list[tuple[StateLayout, StateLayout]] | None:
    """Each state with the one it becomes: of the same name, else the only one of its type and rank that is left."""
    if len(before) != len(after):
        return None
    left = {state.input: state for state in before}
    pairs = [(left.pop(now.input), now) for now in after if now.input in left]
    for now in after:
        if any(now is found for _, found in pairs):
            continue
        alike = [was for was in left.values() if was.shape == now.shape and was.datatype == now.datatype]
        near = alike or [was for was in left.values() if len(was.shape) == len(now.shape)]
        if len(near) != 1:
            return None
        pairs.append((left.pop(near[0].input), now))
    sound = all(was.datatype == now.datatype and len(was.shape) == len(now.shape) for was, now in pairs)
    return pairs if sound else None


class Conversion:
    """What the newer version of a pair does to states.

    Args:
        declared: its section `sequence`.
        layout: of its states.
        tools: the files that its steps need.
    """

    def __init__(self, declared: Declared, layout: Layout, tools: Tools) -> None:
        self._declared = declared
        self._layout = layout
        self._tools = tools

    def taken(self, states: Mapping[str, Array], *, back: bool = False) -> States:
        """States of another version as this one's.

        Args:
            states: of one sequence, by name.
            back: a newer version has handed them out as this one's.

        Raises:
            ModelRejected: `state_unfit`: with what is declared they do not fit.
        """
        made = dict(states)
        if self._declared.on_changeover == "map" and not back:
            made = apply(self._declared.map, states, self._tools)
        wrong = unfit(made, self._layout)
        if wrong:
            raise ModelRejected("; ".join(wrong), reason="state_unfit")
        return {name: np.ascontiguousarray(array) for name, array in made.items()}

    def handed(self, states: Mapping[str, Array]) -> States:
        """States of this version as the older one's; none at all where the older one has to replay.

        Raises:
            ModelRejected: `state_unfit`: a step of the way back does not fit.
        """
        way = self._declared.way_back
        if way == "replay":
            return {}
        if way != "map":
            return dict(states)
        steps = self._declared.steps_back or ()
        return {name: np.ascontiguousarray(array) for name, array in apply(steps, states, self._tools).items()}


def _fits(shape: Sequence[int], declared: Sequence[int]) -> bool:
    return len(shape) == len(declared) and all(d in (-1, s) for s, d in zip(shape, declared, strict=True))


def _alike(first: Sequence[int], second: Sequence[int]) -> bool:
    return len(first) == len(second) and all(-1 in (a, b) or a == b for a, b in zip(first, second, strict=True))


def _by_name(layout: Layout) -> dict[str, StateLayout]:
    return {state.input: state for state in layout.states}


def _told(state: StateLayout) -> str:
    sizes = ", ".join("any" if size < 0 else str(size) for size in state.shape)
    return f"{state.datatype}[{sizes}]"


def size_bytes(layout: Layout) -> int:
    """Bytes that the states of one sequence take at most."""
    return sum(state.most * Datatype[state.datatype].itemsize for state in layout.states)
