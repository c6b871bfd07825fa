"""What a model declares of its sequences, and what that means for its tensors. Pure.

`Declared` is the section `sequence` of a plan, as people write it (`config.pbtxt`'s `sequence_batching` becomes the
same). `resolve` lays it beside the tensors of a model: `Layout` is what worker, gateways and controller work with (it
is in the ready report of a worker and in `LoadingEntry.sequence`), and the *public* inputs and outputs are those that
a client sees: without the states and without the control inputs. Everywhere outside the worker's session a
model's signature is the public one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Annotated, Final, Literal

import msgspec

from changeover.errors import ModelRejected
from changeover.sequences.geometry import MOST_BYTES, MOST_SAVED, Geometry
from changeover.sequences.mapping import MapStep
from changeover.sequences.saved import Extent, most_bytes
from changeover.sequences.section import Controls, Declared, Initial, OnChangeover, StateDeclared, Switch
from changeover.tensors import Datatype, TensorSpec

__all__ = ["Controls", "Declared", "Initial", "Layout", "OnChangeover", "StateDeclared", "Switch", "resolve"]
Role = Literal["start", "end", "ready", "corrid"]
"""What a control input is told: the first step, the last step, that the row is one, the sequence's id."""
_FREE: Final = 256
"""Elements reckoned for a free dimension of an input or output whose size nobody declares."""
_TEXT: Final = 64
"""Bytes reckoned for a BYTES element."""
_TOLD: Final = 1 << 20
"""Bytes reckoned for a sentence, or for the other names that a state has in another version."""
_SWITCHES: Final = (Datatype.INT32, Datatype.FP32, Datatype.BOOL)
_NUMBERS: Final = (Datatype.UINT64, Datatype.INT64, Datatype.UINT32, Datatype.INT32, Datatype.BYTES)


class StateLayout(msgspec.Struct, frozen=True):
    """One state tensor of a model.

    Attributes:
        input, output: the model's names; `input` is the state's name everywhere.
        datatype: name in the Open Inference Protocol.
        shape: of one sequence: 1 at the batch axis, -1 where the size may change from step to step.
        axis: the batch axis; `None`: steps of different sequences do not share a run.
        most: elements at most.
    """

    input: str
    output: str
    datatype: str
    shape: list[int]
    axis: int | None
    most: int


class ControlLayout(msgspec.Struct, frozen=True):
    """One control input of a model: its role, the shape of one row, and the values of a switch."""

    role: Role
    input: str
    datatype: str
    shape: list[int]
    off: float = 0.0
    on: float = 1.0


class Layout(msgspec.Struct, frozen=True):
    """The sequences of one loading.

    Attributes:
        states, controls: in the order in which they were declared.
        idle, max, on_changeover, replay: of the plan.
        slots, saved_bytes: the geometry of its slab.
        way_back: how sequences move to the version before when this one is taken back; steps_back: of a map, where
            they need no file and make nothing larger (`back`).
    """

    states: list[StateLayout]
    controls: list[ControlLayout]
    idle: float
    max: int
    on_changeover: OnChangeover
    replay: int
    slots: int
    saved_bytes: int
    way_back: OnChangeover = "carry"
    steps_back: Annotated[tuple[MapStep, ...], msgspec.Meta(max_length=100)] | None = None

    @property
    def geometry(self) -> Geometry:
        """Of its slab."""
        return Geometry(self.slots, self.saved_bytes)

    @property
    def told_bytes(self) -> int:
        """Bytes that its worker says of one sequence at most: a saved step, or in a sentence why there is none."""
        grows = self.way_back == "map" and self.steps_back is None  # an older version's state may be a larger one
        return self.saved_bytes + (MOST_SAVED if grows else _TOLD)


@dataclass(frozen=True, slots=True)
class Resolved:
    """What `resolve` found: the layout, what clients see, and whether steps of several sequences may share a run."""

    layout: Layout
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    batchable: bool


def resolve(declared: Declared, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> Resolved:
    """Lay a declaration beside a model's own inputs and outputs.

    Raises:
        ModelRejected: `sequence_mismatch`: a name, type or shape is not the model's, or the slab would be too large.
    """
    ins, outs = {s.name: s for s in inputs}, {s.name: s for s in outputs}
    states = [_state(state, ins, outs) for state in declared.state]
    controls = _controls(declared.control, ins)
    hidden = {s.input for s in states} | {c.input for c in controls}
    made = {s.output for s in states}
    public_in = [s for s in inputs if s.name not in hidden]
    public_out = [s for s in outputs if s.name not in made]
    if not public_in:
        raise _mismatch("no input is left for clients")
    layout = _layout(declared, states, controls, (public_in, public_out))
    free = all(s.shape and s.shape[0] == -1 for s in (*public_in, *public_out))
    rows = free and all(s.axis is not None for s in states) and all(_rowed(ins[c.input]) for c in controls)
    return Resolved(layout, public_in, public_out, rows)


def _layout(
    declared: Declared,
    states: list[StateLayout],
    controls: list[ControlLayout],
    public: tuple[list[TensorSpec], list[TensorSpec]],
) -> Layout:
    kept = [Extent(s.input, len(s.shape), s.most * Datatype[s.datatype].itemsize) for s in states]
    answer = [_extent(s) for s in public[1]]
    size = most_bytes(kept, answer, [_extent(s) for s in public[0]], declared.kept)
    if declared.answer_limit is not None:
        size += declared.answer_limit - sum(e.nbytes for e in answer)
    slots = declared.max + declared.max // 4 + 16  # room for tombstones: who comes late gets an exact answer
    said = declared.idle, declared.max, declared.on_changeover, declared.kept
    layout = Layout(states, controls, *said, slots, size, declared.way_back, declared.plain_back)
    if size > MOST_SAVED:
        raise _mismatch(
            f"one sequence takes {size} bytes, over {MOST_SAVED >> 30} GiB; lower state.max, replay or answer_limit"
        )
    if layout.geometry.total > MOST_BYTES:
        raise _mismatch(
            f"{declared.max} sequences of {size} bytes are over {MOST_BYTES >> 30} GiB; lower sequence.max, state.max, "
            "replay or answer_limit"
        )
    return layout


def _state(state: StateDeclared, ins: dict[str, TensorSpec], outs: dict[str, TensorSpec]) -> StateLayout:
    taken, given = _known(state.input, ins, "input"), _known(state.output, outs, "output")
    if taken.datatype is not given.datatype or not _alike(taken.shape, given.shape):
        raise _mismatch(
            f"state input {taken.name} is {taken.datatype.name}{list(taken.shape)} and its output {given.name} is "
            f"{given.datatype.name}{list(given.shape)}"
        )
    if taken.datatype is Datatype.BYTES:
        raise _mismatch(f"state {taken.name} is BYTES, which no state can be")
    axis = _axis(state, taken.shape)
    shape = [1 if at == axis else d for at, d in enumerate(taken.shape)]
    if -1 in shape and state.max is None:
        raise _mismatch(f"state {taken.name} is {list(taken.shape)}: say how large the free dimension gets (max: N)")
    most = prod((state.max or 1) if d < 0 else d for d in shape)
    return StateLayout(taken.name, given.name, taken.datatype.name, shape, axis, most)


def _axis(state: StateDeclared, shape: tuple[int, ...]) -> int | None:
    free = [at for at, dimension in enumerate(shape) if dimension < 0]
    if state.batch_axis is not None:
        if state.batch_axis not in free:
            raise _mismatch(f"state {state.input} is {list(shape)}: dimension {state.batch_axis} is not free")
        return state.batch_axis
    if len(free) > 1 and 0 not in free:
        raise _mismatch(f"state {state.input} is {list(shape)}: say which dimension counts sequences (batch_axis: N)")
    return free[0] if free else None


def _controls(controls: Controls, ins: dict[str, TensorSpec]) -> list[ControlLayout]:
    found: list[ControlLayout] = []
    switches: dict[Role, Switch | str | None] = {"start": controls.start, "end": controls.end, "ready": controls.ready}
    for role, said in switches.items():
        if said is not None:
            switch = Switch(said) if isinstance(said, str) else said
            found.append(_control(role, _known(switch.input, ins, "input"), _SWITCHES, switch))
    if controls.corrid is not None:
        spec = _known(controls.corrid, ins, "input")
        found.append(_control("corrid", spec, _NUMBERS, Switch(spec.name)))
    return found


def _control(role: Role, spec: TensorSpec, types: tuple[Datatype, ...], switch: Switch) -> ControlLayout:
    shape = [1 if d < 0 else d for d in spec.shape]
    if spec.datatype not in types or prod(shape) != 1:
        told = ", ".join(t.name for t in types)
        raise _mismatch(
            f"control input {spec.name} ({role}) is {spec.datatype.name}{list(spec.shape)}, and one element a row of "
            f"{told} is taken"
        )
    return ControlLayout(role, spec.name, spec.datatype.name, shape, switch.off, switch.on)


def _rowed(spec: TensorSpec) -> bool:
    return bool(spec.shape) and spec.shape[0] < 0


def _known(name: str, specs: dict[str, TensorSpec], kind: str) -> TensorSpec:
    if name not in specs:
        raise _mismatch(f"the model has no {kind} {name!r}, it has {', '.join(specs)}")
    return specs[name]


def _alike(first: tuple[int, ...], second: tuple[int, ...]) -> bool:
    return len(first) == len(second) and all(-1 in (a, b) or a == b for a, b in zip(first, second, strict=True))


def _extent(spec: TensorSpec) -> Extent:
    elements = prod(_FREE if d < 0 else d for d in (1, *spec.shape[1:])) * (
        1 if not spec.shape or spec.shape[0] < 0 else spec.shape[0]
    )
    return Extent(spec.name, len(spec.shape), elements * (spec.datatype.itemsize or _TEXT))


def _mismatch(what: str) -> ModelRejected:
    return ModelRejected(f"sequence: {what}.", reason="sequence_mismatch")
