"""What each step does to one tensor: its port one step further out, and the nodes between.

For an input the data flows from the clients, so a step's outer value is new and its inner one is there; for an output
it is the other way round. `_between` hides that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from changeover.interface.pen import Pen
from changeover.interface.ports import Dim, Port, element_type
from changeover.interface.steps import Labels, Pad, Scale, Slice
from changeover.interface.values import exactly
from changeover.tensors import Datatype

_FLOATS: Final = (Datatype.FP16, Datatype.FP32, Datatype.FP64)
_CLASSES: Final = (Datatype.INT32, Datatype.INT64)


@dataclass(frozen=True, slots=True)
class Done:
    """A step on one tensor: its port further out, and what of the data is lost, `""` for nothing."""

    port: Port
    loses: str = ""


Operation = Callable[[Pen, Port, Any], Done]


def cast(pen: Pen, port: Port, given: str) -> Done:
    """The clients' datatype."""
    outer = Datatype[given]
    if Datatype.BYTES in (outer, port.datatype) or port.datatype is Datatype.BF16:
        raise ValueError(f"{port.datatype.name} cannot be cast")
    source, target = (outer, port.datatype) if pen.before else (port.datatype, outer)
    value = _between(pen, port, "Cast", to=element_type(target))
    lost = "" if _kept(source, target) else f"{source.name} becomes {target.name}"
    return Done(port.now(value, datatype=outer), lost)


def _kept(source: Datatype, target: Datatype) -> bool:
    """Whether every value of one type is one of the other; numpy takes INT64 as FP64 for safe, which is not so."""
    wide = source in (Datatype.INT64, Datatype.UINT64) and target in _FLOATS
    return bool(np.can_cast(source.numpy, target.numpy, "safe")) and not wide


def transpose(pen: Pen, port: Port, order: tuple[int, ...]) -> Done:
    """Another order of axes."""
    if len(order) != len(port.dims):
        raise ValueError(f"{len(order)} axes in the order, and {len(port.dims)} in {port}")
    if pen.before:
        dims: list[Dim] = [0] * len(order)
        for inner, outer in enumerate(order):
            dims[outer] = port.dims[inner]
    else:
        dims = [port.dims[at] for at in order]
    return Done(port.now(_between(pen, port, "Transpose", perm=list(order)), dims=tuple(dims)))


def reshape(pen: Pen, port: Port, shape: tuple[int, ...]) -> Done:
    """The clients' shape; a free first dimension on both sides is the same one, so it is left as it is."""
    batch = bool(shape) and shape[0] == -1 and bool(port.dims) and isinstance(port.dims[0], str)
    inner = [dim if isinstance(dim, int) else -1 for dim in port.dims]
    if inner.count(-1) > 1:
        raise ValueError(f"{port} has more than one free dimension")
    if (-1 in shape) != (-1 in inner):
        raise ValueError(f"{list(shape)} and {port} do not have a free dimension both")
    fixed = [math.prod(abs(size) for size in one) for one in (shape, inner)]
    if fixed[0] != fixed[1] and not (-1 in shape and not batch):
        raise ValueError(f"{list(shape)} holds {fixed[0]} values where {port} holds {fixed[1]}")
    free: Dim = port.dims[0] if batch else f"{port.name}_reshaped"
    dims = tuple(free if size == -1 else size for size in shape)
    target = inner if pen.before else list(shape)
    outer = pen.name("Reshape")
    into = (outer, port.value) if pen.before else (port.value, outer)
    pen.write("Reshape", [into[0], pen.numbers(*target)], into[1])
    return Done(port.now(outer, dims=dims))


def squeeze(pen: Pen, port: Port, axes: tuple[int, ...]) -> Done:
    """Axes of length 1 taken away from the data."""
    return Done(_with_axes(pen, port, axes) if pen.before else _without_axes(pen, port, axes))


def unsqueeze(pen: Pen, port: Port, axes: tuple[int, ...]) -> Done:
    """Axes of length 1 put into the data."""
    return Done(_without_axes(pen, port, axes) if pen.before else _with_axes(pen, port, axes))


def _without_axes(pen: Pen, port: Port, axes: tuple[int, ...]) -> Port:
    """Further out there are fewer axes."""
    gone = sorted({port.axis(axis) for axis in axes})
    for axis in gone:
        if port.dims[axis] != 1:
            raise ValueError(f"axis {axis} of {port} is not of length 1")
    dims = tuple(dim for at, dim in enumerate(port.dims) if at not in gone)
    return port.now(_axes(pen, port, "Unsqueeze" if pen.before else "Squeeze", gone), dims=dims)


def _with_axes(pen: Pen, port: Port, axes: tuple[int, ...]) -> Port:
    """Further out there are more axes."""
    new = sorted({port.axis(axis, len(axes)) for axis in axes})
    dims = list(port.dims)
    for axis in new:
        dims.insert(axis, 1)
    return port.now(_axes(pen, port, "Squeeze" if pen.before else "Unsqueeze", new), dims=tuple(dims))


def _axes(pen: Pen, port: Port, operator: str, axes: list[int]) -> str:
    outer = pen.name(operator)
    into = (outer, port.value) if pen.before else (port.value, outer)
    pen.over_axes(operator, into[0], axes, into[1])
    return outer


def scale(pen: Pen, port: Port, given: Scale) -> Done:
    """Multiply and add, each where it does something."""
    if port.datatype not in _FLOATS:
        raise ValueError(f"{port} holds no floating-point numbers: let a cast stand further out")
    shape = _along(port, given)
    factor, offset, mean, std = (
        np.reshape(np.asarray(value, np.float64), shape if isinstance(value, tuple) else ())
        for value in (given.scale, given.offset, given.mean, given.std)
    )
    factors = [("Mul", factor / std), ("Add", (offset - mean) / std)]
    wanted = [(op, f.astype(port.datatype.numpy)) for op, f in factors if np.any(f != (1.0 if op == "Mul" else 0.0))]
    if not all(np.isfinite(f).all() for _, f in wanted) or any(op == "Mul" and not f.all() for op, f in wanted):
        raise ValueError(f"the factors are no numbers of {port.datatype.name}")
    if not wanted:
        return Done(port)
    outer = pen.name("scaled")
    begin, end = (outer, port.value) if pen.before else (port.value, outer)
    for at, (operator, array) in enumerate(wanted):
        last = at == len(wanted) - 1
        begin = pen.write(operator, [begin, pen.constant(array)], end if last else "")
    return Done(port.now(outer))


def _along(port: Port, given: Scale) -> tuple[int, ...]:
    """The shape in which a list of factors meets the data."""
    if not given.lists:
        return ()
    axis, length = port.axis(given.axis), len(given.lists[0])
    if port.dims[axis] != length and length != 1:  # a free axis may be of length 1, and would be made longer
        raise ValueError(f"{length} factors along axis {axis} of {port}")
    return (length, *[1] * (len(port.dims) - axis - 1))


def labels(pen: Pen, port: Port, given: Labels) -> Done:
    """Other classes, of scores or of the numbers of classes."""
    if pen.before:
        raise ValueError("labels are of an output")
    groups = given.groups
    merged = "classes become one" if any(len(group) > 1 for group in groups) else ""
    if port.datatype in _CLASSES:
        return Done(_numbers_of(pen, port, given), merged)
    if port.datatype not in _FLOATS:
        raise ValueError(f"{port} holds neither scores nor numbers of classes")
    axis = port.axis(given.axis)
    own, highest = port.dims[axis], max(max(group) for group in groups)
    if isinstance(own, str):
        raise ValueError(f"nobody knows how many classes {port} has along axis {axis}")  # noqa: TRY004
    if highest >= own:
        raise ValueError(f"class {highest} is none of the {own} of {port}")
    dims = tuple(len(groups) if at == axis else dim for at, dim in enumerate(port.dims))
    left = own - sum(map(len, groups))
    return Done(
        port.now(_scores(pen, port, given, axis, own), dims=dims), merged or (f"{left} classes go" if left else "")
    )


def _numbers_of(pen: Pen, port: Port, given: Labels) -> Port:
    """A table from the model's numbers to the clients', with -1 at both ends for all that are none.

    The model's are kept within the table as FP32, which every operator set can do and which has all of its places.
    """
    table = {own: at for at, group in enumerate(given.groups) for own in group}
    if given.of is None:
        raise ValueError(f"{port} is the number of a class: say how many (`of`) classes the model has")
    if max(table) >= given.of:
        raise ValueError(f"class {max(table)} is none of the {given.of} of {port}")
    missing = [own for own in range(given.of) if own not in table]
    if missing:
        raise ValueError(f"{port} is the number of a class, and the model's class {missing[0]} is none of the clients'")
    values = np.array([-1, *(table[own] for own in range(given.of)), -1], port.datatype.numpy)
    least, most, one = (np.array(number, np.float32) for number in (0, given.of + 1, 1))
    place = pen.write("Add", [_cast(pen, port.value, Datatype.FP32), pen.constant(one)])
    if pen.opset < 11:
        place = pen.write("Clip", [place], min=float(least), max=float(most))
    else:
        place = pen.write("Clip", [place, pen.constant(least), pen.constant(most)])
    return port.now(pen.write("Gather", [pen.constant(values), _cast(pen, place, Datatype.INT64)], axis=0))


def _cast(pen: Pen, value: str, to: Datatype) -> str:
    return pen.write("Cast", [value], to=element_type(to))


def _scores(pen: Pen, port: Port, given: Labels, axis: int, own: int) -> str:
    groups = given.groups
    widest = max(map(len, groups))
    if widest == 1:
        order = [own for (own,) in groups]
        return pen.write("Gather", [port.value, pen.numbers(*order)], axis=axis)
    # Every class gets as many columns as the widest has. What is one too many is there already for the largest,
    # and a zero for the sum: a column of zeros behind all others, since 0 times a score of -inf would be no number.
    scores, add = port.value, given.merge == "sum"
    if add:
        pads = [0] * (2 * len(port.dims))
        pads[axis + len(port.dims)] = 1
        scores = _padded(pen, port, pads, 0.0)
    index = np.array([[*group, *[own if add else group[0]] * (widest - len(group))] for group in groups], np.int64)
    picked = pen.write("Gather", [scores, pen.constant(index)], axis=axis)
    return pen.over_axes("ReduceSum" if add else "ReduceMax", picked, [axis + 1], keepdims=0)


def cut(pen: Pen, port: Port, given: Slice) -> Done:
    """A part along one axis."""
    axis, size = port.axis(given.axis), given.end - given.start
    now = port.dims[axis]
    if pen.before:
        if given.of is None:
            raise ValueError("a slice of an input says of how many (`of`) clients send")
        if isinstance(now, int) and now != size:
            raise ValueError(f"{size} are cut out, and {port} takes {now}")
        outer: Dim = given.of if given.of != -1 else f"{port.name}_{axis}_whole"
    else:
        if isinstance(now, int) and now < given.end:
            raise ValueError(f"the part ends at {given.end}, and {port} has {now}")
        outer = size
    dims = tuple(outer if at == axis else dim for at, dim in enumerate(port.dims))
    return Done(port.now(_sliced(pen, port, axis, given), dims=dims), f"only {given.start} to {given.end} is left")


def _sliced(pen: Pen, port: Port, axis: int, given: Slice) -> str:
    if pen.opset < 10:
        return _between(pen, port, "Slice", axes=[axis], starts=[given.start], ends=[given.end])
    return _between(pen, port, "Slice", pen.numbers(given.start), pen.numbers(given.end), pen.numbers(axis))


def pad(pen: Pen, port: Port, given: Pad) -> Done:
    """More along one axis."""
    axis, more = port.axis(given.axis), given.before + given.after
    if port.datatype not in _FLOATS and pen.opset < 13:
        raise ValueError(f"the model's operator set {pen.opset} pads floating-point numbers only")
    now = port.dims[axis]
    if isinstance(now, int):
        outer: Dim = now - more if pen.before else now + more
        if isinstance(outer, int) and outer < 1:
            raise ValueError(f"{more} are added, and {port} takes {now} in all")
    else:
        outer = f"{port.name}_{axis}_bare"
    dims = tuple(outer if at == axis else dim for at, dim in enumerate(port.dims))
    pads = [0] * (2 * len(dims))
    pads[axis], pads[axis + len(dims)] = given.before, given.after
    return Done(port.now(_padded(pen, port, pads, given.value), dims=dims))


def _padded(pen: Pen, port: Port, pads: list[int], value: float) -> str:
    filling = exactly(value, port.datatype)
    if pen.opset < 11:
        return _between(pen, port, "Pad", pads=pads, value=float(filling))
    return _between(pen, port, "Pad", pen.numbers(*pads), pen.constant(filling))


def softmax(pen: Pen, port: Port, given: int) -> Done:
    """Scores to probabilities."""
    if pen.before or port.datatype not in _FLOATS:
        raise ValueError(f"softmax is of an output of floating-point scores, and this is {port}")
    axis = port.axis(given)
    if pen.opset < 13 and axis != len(port.dims) - 1:
        raise ValueError(f"the model's operator set {pen.opset} has it along the last axis only")
    return Done(port.now(pen.write("Softmax", [port.value], axis=axis)))


def _between(pen: Pen, port: Port, operator: str, *more: str, **attributes: Any) -> str:
    """One node between a port's value and a new one; the new one."""
    outer = pen.name(operator)
    data, result = (outer, port.value) if pen.before else (port.value, outer)
    pen.write(operator, [data, *more], result, **attributes)
    return outer


OPERATIONS: Final[dict[str, Operation]] = {
    "cast": cast, "transpose": transpose, "reshape": reshape, "squeeze": squeeze, "unsqueeze": unsqueeze,
    "scale": scale, "labels": labels, "slice": cut, "pad": pad, "softmax": softmax,
}  # fmt: skip
"""The operations that one tensor goes through, by the step's name."""
