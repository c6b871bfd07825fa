"""Section `sequence` of a plan: what people declare of a model's sequences. Pure."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from changeover.sequences.mapping import MapStep, inverse

OnChangeover = Literal["carry", "map", "replay", "drain", "reset"]
"""What becomes of a live sequence when another version takes over (docs/sequences.md)."""
_REPLAY: Final = 16
_PLAIN: Final = ("rename", "crop", "scale")


class Initial(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a state is at the start of a sequence: a file beside the model (`.npy`, else raw bytes), or numbers."""

    file: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    data: tuple[float, ...] | None = None


class StateDeclared(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One state tensor.

    Attributes:
        input: of the model, that takes the state.
        output: of the model, that gives the next one.
        initial: `None`: zeros.
        max: most elements of each free dimension that does not count sequences; needed where there is one.
        batch_axis: the dimension that counts sequences; `None`: the free one, the first where there are several.
    """

    input: str
    output: str
    initial: Initial | None = None
    max: Annotated[int, msgspec.Meta(ge=1, le=1 << 30)] | None = None
    batch_axis: Annotated[int, msgspec.Meta(ge=0, le=15)] | None = None


class Switch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A control input that is either `on` or `off`; in short, its name alone."""

    input: str
    off: float = 0.0
    on: float = 1.0


class Controls(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Inputs that the server fills in, as Triton's models have them.

    Attributes:
        start, end: on at the first and at the last step.
        ready: on in every row that is a step.
        corrid: takes the sequence's id: as text where the input is BYTES, else as a number (of a text: one made of it).
    """

    start: Switch | str | None = None
    end: Switch | str | None = None
    ready: Switch | str | None = None
    corrid: str | None = None


class Declared(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Section `sequence` of a plan.

    Attributes:
        state: the state tensors.
        control: inputs that the server fills in.
        idle: seconds after which a sequence without a step is expired.
        max: most live sequences of one version.
        on_changeover: what becomes of live ones when another version takes over.
        replay: of how many last steps the inputs are kept with the state; `None`: 16 with `on_changeover: replay`,
            else none.
        map: steps from the states of the version before to this one's, with `on_changeover: map`.
        map_back: steps from this version's states to those of the version before; `None`: the inverse that `map` has.
        answer_limit: most bytes of one step's answer, which is kept with the state; `None`: reckoned from the outputs,
            with 256 elements for each free dimension.
    """

    state: tuple[StateDeclared, ...] = ()
    control: Controls = Controls()
    idle: Annotated[float, msgspec.Meta(ge=0.1, le=30 * 86400)] = 60.0
    max: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1024
    on_changeover: OnChangeover = "carry"
    replay: Annotated[int, msgspec.Meta(ge=0, le=1024)] | None = None
    map: Annotated[tuple[MapStep, ...], msgspec.Meta(max_length=100)] = ()
    map_back: Annotated[tuple[MapStep, ...], msgspec.Meta(max_length=100)] | None = None
    answer_limit: Annotated[int, msgspec.Meta(ge=1, le=1 << 30)] | None = None

    @property
    def steps_back(self) -> tuple[MapStep, ...] | None:
        """The steps from this version's states to those of the version before; None where nobody knows them."""
        return self.map_back if self.map_back is not None else inverse(self.map)

    @property
    def way_back(self) -> OnChangeover:
        """How sequences move to the version before when this one is taken back (`moves`)."""
        if self.on_changeover == "map" and self.steps_back is None:
            return "replay" if self.kept else "drain"
        return self.on_changeover

    @property
    def plain_back(self) -> tuple[MapStep, ...] | None:
        """The steps back where whoever has a state can do them, without files of this version and in no more room."""
        steps = self.steps_back if self.way_back == "map" else None
        return steps if steps is not None and all(step.kind in _PLAIN for step in steps) else None

    @property
    def kept(self) -> int:
        """Inputs of how many steps are kept with the state."""
        if self.replay is not None:
            return self.replay
        return _REPLAY if self.on_changeover == "replay" else 0
