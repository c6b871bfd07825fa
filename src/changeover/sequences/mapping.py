"""Section `sequence.map` of a plan: the steps that make another version's states this one's, and the way back. Pure.

A step is an object with one member. States have the names of the inputs that take them: before the first step those of
the version that a sequence comes from, after the last one those of the version that it goes to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from changeover.errors import ModelRejected
from changeover.tensors import Tensor

Array = npt.NDArray[Any]
States = dict[str, Array]
Graph = Callable[[States], States]
"""An ONNX graph as a function: its inputs by name, its outputs by name."""
_Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 30)]
_Axis = Annotated[int, msgspec.Meta(ge=-16, le=15)]
_File = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
_Scale = Annotated[float, msgspec.Meta(ge=-1e30, le=1e30)]


class Margin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many elements come (`pad`, zeros) or go (`crop`) at the two ends of an axis."""

    axis: _Axis = -1
    before: _Count = 0
    after: _Count = 0


class Projection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A matrix beside the model: `.npy`, floating point, [size of the axis before, size after]."""

    matrix: _File
    axis: _Axis = -1


class MapStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One step; exactly one member.

    Attributes:
        rename: names by the names they replace, all at once.
        pad: zeros at the ends of an axis, by state.
        crop: the ends of an axis are left out, by state.
        scale: a factor, by state.
        project: each vector along an axis times a matrix, by state.
        graph: an ONNX file beside the model: its inputs are states by name, and what it gives takes their place.
    """

    rename: dict[str, str] | None = None
    pad: dict[str, Margin] | None = None
    crop: dict[str, Margin] | None = None
    scale: dict[str, _Scale] | None = None
    project: dict[str, Projection] | None = None
    graph: _File | None = None

    def __post_init__(self) -> None:
        """Exactly one member."""
        if sum(getattr(self, name) is not None for name in self.__struct_fields__) != 1:
            raise ValueError(f"a step of a map has one member of {', '.join(self.__struct_fields__)}")

    @property
    def kind(self) -> str:
        """The name of its member."""
        return next(name for name in self.__struct_fields__ if getattr(self, name) is not None)


@dataclass(frozen=True, slots=True)
class Tools:
    """What steps take from files: matrices and graphs by the file's name."""

    matrices: Mapping[str, Array] = field(default_factory=dict)
    graphs: Mapping[str, Graph] = field(default_factory=dict)


def arrays(tensors: Iterable[Tensor]) -> States:
    """Tensors of a saved step as steps and sessions take them. A worker wrote them, and what they say need not be so.

    Raises:
        ModelRejected: `state_unfit`: a tensor is not what it says.
    """
    try:
        return {tensor.name: np.require(tensor.readable(), requirements="A") for tensor in tensors}
    except (ValueError, OverflowError) as error:
        raise ModelRejected(f"a tensor is not what it says: {error}", reason="state_unfit") from error


def files(steps: Sequence[MapStep]) -> tuple[set[str], set[str]]:
    """Names of the matrices and of the graphs that steps need."""
    matrices = {p.matrix for step in steps for p in (step.project or {}).values()}
    return matrices, {step.graph for step in steps if step.graph is not None}


def inverse(steps: Sequence[MapStep]) -> tuple[MapStep, ...] | None:
    """The steps that undo these exactly; None when there is one that has no inverse of its own.

    A renaming and a padding have one, and a factor other than 0. What was cropped is lost, a matrix may have none, and
    nobody knows of a graph.
    """
    back: list[MapStep] = []
    for step in reversed(steps):
        if step.rename is not None and len(set(step.rename.values())) == len(step.rename):
            back.append(MapStep(rename={new: old for old, new in step.rename.items()}))
        elif step.pad is not None:
            back.append(MapStep(crop=step.pad))
        elif step.scale is not None and all(step.scale.values()):
            back.append(MapStep(scale={name: 1 / factor for name, factor in step.scale.items()}))
        else:
            return None
    return tuple(back)


def apply(steps: Sequence[MapStep], states: Mapping[str, Array], tools: Tools) -> States:
    """States of one version as another's.

    Args:
        steps: in their order.
        states: of one sequence, by name; they are not changed.
        tools: all that the steps need.

    Raises:
        ModelRejected: `state_unfit`: a step names what is not there, or does not fit it.
    """
    made = dict(states)
    for at, step in enumerate(steps):
        try:
            made = _STEPS[step.kind](step, made, tools)
        except (ValueError, KeyError, IndexError) as error:
            what = f"there is no {error.args[0]!r}" if isinstance(error, KeyError) else str(error)
            raise ModelRejected(f"sequence.map: step {at + 1} ({step.kind}): {what}", reason="state_unfit") from error
    return made


def _rename(step: MapStep, states: States, _: Tools) -> States:
    names = step.rename or {}
    moved = {new: states[old] for old, new in names.items()}
    if len(moved) != len(names):
        raise ValueError("two states get one name")
    made = {name: array for name, array in states.items() if name not in names}
    if made.keys() & moved.keys():
        raise ValueError(f"there is a state {min(made.keys() & moved.keys())!r} already")
    return made | moved


def _pad(step: MapStep, states: States, _: Tools) -> States:
    made = dict(states)
    for name, margin in (step.pad or {}).items():
        array = made[name]
        widths = [(0, 0)] * array.ndim
        widths[_axis(margin.axis, array)] = margin.before, margin.after
        made[name] = np.pad(array, widths)
    return made


def _crop(step: MapStep, states: States, _: Tools) -> States:
    made = dict(states)
    for name, margin in (step.crop or {}).items():
        array = made[name]
        axis = _axis(margin.axis, array)
        size = array.shape[axis]
        if margin.before + margin.after > size:
            raise ValueError(f"{name!r} has {size} elements there, and {margin.before + margin.after} would go")
        kept: list[slice] = [slice(None)] * array.ndim
        kept[axis] = slice(margin.before, size - margin.after)
        made[name] = array[tuple(kept)]
    return made


def _scale(step: MapStep, states: States, _: Tools) -> States:
    factors = step.scale or {}
    return states | {n: (_floating(n, states[n]) * f).astype(states[n].dtype) for n, f in factors.items()}


def _project(step: MapStep, states: States, tools: Tools) -> States:
    made = dict(states)
    for name, projection in (step.project or {}).items():
        array, matrix = _floating(name, made[name]), tools.matrices[projection.matrix]
        axis = _axis(projection.axis, array)
        if matrix.shape[0] != array.shape[axis]:
            raise ValueError(f"{projection.matrix} is {list(matrix.shape)}, and {name!r} is {list(array.shape)}")
        wide = np.moveaxis(np.moveaxis(array, axis, -1).astype(np.float64) @ matrix, -1, axis)
        made[name] = np.ascontiguousarray(wide, array.dtype)
    return made


def _graph(step: MapStep, states: States, tools: Tools) -> States:
    return tools.graphs[step.graph or ""](states)


def _axis(axis: int, array: Array) -> int:
    if not -array.ndim <= axis < array.ndim:
        raise ValueError(f"an array of {array.ndim} dimensions has no axis {axis}")
    return axis % array.ndim


def _floating(name: str, array: Array) -> Array:
    if array.dtype.kind != "f":
        raise ValueError(f"{name!r} is {array.dtype}, and no floating-point number that could be scaled")
    return array


_STEPS: Final[dict[str, Callable[[MapStep, States, Tools], States]]] = {
    "rename": _rename,
    "pad": _pad,
    "crop": _crop,
    "scale": _scale,
    "project": _project,
    "graph": _graph,
}
