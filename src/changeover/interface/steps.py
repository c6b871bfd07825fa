"""Section `interface` of a plan: the steps that lead from a model's own inputs and outputs to those clients use. Pure.

The first step stands next to the model, the last next to the clients. A step names a tensor as it is called there:
by the model's own name until a `rename`, by the clients' after it. `rename`, `cast` and `reshape` name what clients
use; all others say what is done to the data on its way: into the model for an input, out of it for an output.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Final, Literal

import msgspec

Number = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64"
]
"""Datatypes between which a cast is possible, by the protocol's names."""
AnyType = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64",
    "BYTES", "BF16",
]  # fmt: skip
_AXIS: Final = msgspec.Meta(ge=-16, le=15)
Axis = Annotated[int, _AXIS]
Axes = Annotated[tuple[Axis, ...], msgspec.Meta(min_length=1, max_length=16)]
Order = Annotated[tuple[Annotated[int, msgspec.Meta(ge=0, le=15)], ...], msgspec.Meta(min_length=1, max_length=16)]
Shape = Annotated[tuple[Annotated[int, msgspec.Meta(ge=-1)], ...], msgspec.Meta(max_length=16)]
Class = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
Factor = float | Annotated[tuple[float, ...], msgspec.Meta(min_length=1)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
_KINDS: Final = (
    "rename", "cast", "transpose", "reshape", "squeeze", "unsqueeze", "scale", "default", "ignore", "drop", "labels",
    "slice", "pad", "softmax",
)  # fmt: skip


class Scale(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`(x * scale + offset - mean) / std`; a list has one number an index of `axis`.

    Attributes:
        scale, offset: 0-255 to 0-1 is a scale of 0.00392156862745098.
        mean, std: of what the model was trained on.
        axis: that the lists go along.
    """

    scale: Factor = 1.0
    offset: Factor = 0.0
    mean: Factor = 0.0
    std: Factor = 1.0
    axis: Axis = 1

    def __post_init__(self) -> None:
        for name in ("scale", "offset", "mean", "std"):
            value = getattr(self, name)
            for number in value if isinstance(value, tuple) else (value,):
                if not math.isfinite(number) or (number == 0 and name in ("scale", "std")):
                    raise ValueError(f"{name} is {number:g}, and the way back from that is lost")
        if len({len(value) for value in self.lists}) > 1:
            raise ValueError("lists of different lengths")

    @property
    def lists(self) -> list[tuple[float, ...]]:
        """The factors that are lists."""
        return [value for value in (self.scale, self.offset, self.mean, self.std) if isinstance(value, tuple)]


class Ignored(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An input that clients send and the model does not have.

    Attributes:
        datatype: of it.
        shape: of it; -1 takes any size.
    """

    datatype: AnyType
    shape: Shape


class Labels(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The clients' classes in the clients' order.

    Attributes:
        classes: for each of them the number of the model's class, or a list of those that are one for clients.
        merge: what becomes of the scores of several: their `sum` (probabilities) or the largest (`max`).
        axis: of scores, along which the classes lie.
        of: how many classes the model has; for numbers of classes only, as scores are counted.
    """

    classes: Annotated[tuple[Class | tuple[Class, ...], ...], msgspec.Meta(min_length=1, max_length=100_000)]
    merge: Literal["sum", "max"] = "sum"
    axis: Axis = -1
    of: Annotated[int, msgspec.Meta(ge=1, le=1_000_001)] | None = None

    def __post_init__(self) -> None:
        flat = [one for group in self.groups for one in group]
        if not all(self.groups):
            raise ValueError("a class of the clients stands for none of the model's")
        if len(flat) != len(set(flat)):
            raise ValueError(f"class {next(c for c in flat if flat.count(c) > 1)} comes twice")

    @property
    def groups(self) -> list[tuple[int, ...]]:
        """The model's classes of each of the clients'."""
        return [group if isinstance(group, tuple) else (group,) for group in self.classes]


class Slice(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A part of the data along one axis, the rest is lost.

    Attributes:
        axis: of the data.
        start, end: first index of the part, and the one after its last.
        of: size that clients send; for an input only. -1 takes any from `end` on.
    """

    axis: Axis
    end: Annotated[int, msgspec.Meta(ge=1)]
    start: Annotated[int, msgspec.Meta(ge=0)] = 0
    of: Annotated[int, msgspec.Meta(ge=-1)] | None = None

    def __post_init__(self) -> None:
        if self.start >= self.end:
            raise ValueError(f"start {self.start} is not before end {self.end}")
        if self.of is not None and self.of != -1 and self.of < self.end:
            raise ValueError(f"the part ends at {self.end}, and there are {self.of}")


class Pad(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """More of the data along one axis.

    Attributes:
        axis: of the data.
        before, after: how many are added on each side.
        value: what is added.
    """

    axis: Axis
    before: Annotated[int, msgspec.Meta(ge=0)] = 0
    after: Annotated[int, msgspec.Meta(ge=0)] = 0
    value: int | float = 0.0

    def __post_init__(self) -> None:
        if not self.before + self.after:
            raise ValueError("nothing is added: say how many `before` or `after`")


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One step; exactly one of the operations, each for as many tensors as it names.

    Attributes:
        rename: the clients' name.
        cast: the clients' datatype.
        transpose: order of the axes of what goes in (an input), or comes out (an output), as numpy has it.
        reshape: the clients' shape; -1 in one place at most.
        squeeze, unsqueeze: axes of length 1 that are taken away from the data, or put into it.
        scale: of floating-point data.
        default: value of an input that clients do not send.
        ignore: an input that clients send and the model does not take.
        drop: outputs that clients do not get.
        labels: other classes, or in another order: of scores, or of the numbers of classes.
        slice, pad: less, or more, along an axis.
        softmax: scores to probabilities along this axis.
        allow_lossy: a step that loses something of the data is meant.
    """

    rename: dict[Name, Name] | None = None
    cast: dict[Name, Number] | None = None
    transpose: dict[Name, Order] | None = None
    reshape: dict[Name, Shape] | None = None
    squeeze: dict[Name, Axes] | None = None
    unsqueeze: dict[Name, Axes] | None = None
    scale: dict[Name, Scale] | None = None
    default: dict[Name, bool | int | float | str | list[Any]] | None = None
    ignore: dict[Name, Ignored] | None = None
    drop: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1)] | None = None
    labels: dict[Name, Labels] | None = None
    slice: dict[Name, Slice] | None = None
    pad: dict[Name, Pad] | None = None
    softmax: dict[Name, Axis] | None = None
    allow_lossy: bool = False

    def __post_init__(self) -> None:
        given = [kind for kind in _KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"one operation a step, and there are {len(given)}: {', '.join(given) or 'none'}")
        if not getattr(self, given[0]):
            raise ValueError(f"{given[0]} names no tensor")
        _check_axes(self)

    @property
    def kind(self) -> str:
        """The operation's name."""
        return next(kind for kind in _KINDS if getattr(self, kind) is not None)

    @property
    def arguments(self) -> dict[str, Any]:
        """What the operation is given, by tensor."""
        given = getattr(self, self.kind)
        return given if isinstance(given, dict) else dict.fromkeys(given)


def _check_axes(step: Step) -> None:
    for name, order in (step.transpose or {}).items():
        if sorted(order) != list(range(len(order))):
            raise ValueError(f"transpose of {name!r}: {list(order)} does not have every axis once")
    for name, shape in (step.reshape or {}).items():
        if shape.count(-1) > 1 or 0 in shape:
            raise ValueError(f"reshape of {name!r}: {list(shape)} has a 0, or more than one -1")
    for name, axes in {**(step.squeeze or {}), **(step.unsqueeze or {})}.items():
        if len(set(axes)) != len(axes):
            raise ValueError(f"{step.kind} of {name!r}: an axis comes twice in {list(axes)}")
