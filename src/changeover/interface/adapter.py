"""The steps of a plan applied to a model: what clients see, and the nodes in front of the model and behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from changeover.errors import ModelRejected
from changeover.interface.operations import OPERATIONS
from changeover.interface.pen import Array, Pen
from changeover.interface.ports import Port
from changeover.interface.steps import Ignored, Step
from changeover.interface.values import exactly
from changeover.tensors import Datatype

_EXPANDS: Final = 8
"""The operator set with Expand."""


@dataclass(slots=True)
class Side:
    """Inputs, or outputs.

    Attributes:
        ports: as they are at the step that was looked at last, the clients' in the end.
        pen: what wrote the nodes.
    """

    ports: list[Port]
    pen: Pen

    def find(self, name: str) -> int | None:
        """Which one is called so."""
        return next((at for at, port in enumerate(self.ports) if port.name == name), None)


class Adapter:
    """Steps being applied.

    Args:
        inputs, outputs: of the model.
        pens: that write in front of it, behind those, and behind it.
    """

    def __init__(self, inputs: Sequence[Port], outputs: Sequence[Port], pens: tuple[Pen, Pen, Pen]) -> None:
        self.inputs = Side(list(inputs), pens[0])
        self.outputs = Side(list(outputs), pens[2])
        self._fill = pens[1]
        self._own = {port.value: port for port in inputs}
        self._defaults: list[Callable[[], None]] = []

    def apply(self, steps: Sequence[Step]) -> None:
        """All steps, from the model outwards.

        Raises:
            ModelRejected: a step does not fit the model (`interface_unfit`), or loses something of the data and is
                not allowed to (`interface_lossy`).
        """
        for at, step in enumerate(steps):
            for name, given in step.arguments.items():
                with _placed(at, step, name):
                    if step.kind == "default":
                        self._default(at, step, name)
                    else:
                        self._apply(step, name, given)
        for write in self._defaults:
            write()

    def _apply(self, step: Step, name: str, given: Any) -> None:
        if step.kind == "ignore":
            self._ignore(name, given)
        elif step.kind == "drop":
            self._drop(name)
        elif step.kind == "rename":
            self._rename(name, given)
        else:
            side, at = self._found(name)
            done = OPERATIONS[step.kind](side.pen, side.ports[at], given)
            side.pen.end_piece()
            if done.loses and not step.allow_lossy:
                raise Lossy(done.loses)
            side.ports[at] = done.port

    def _found(self, name: str) -> tuple[Side, int]:
        for side in (self.inputs, self.outputs):
            at = side.find(name)
            if at is not None:
                return side, at
        raise ValueError(f"there is nothing of that name here, only {self._names()}")

    def _names(self) -> str:
        told = [f"{port.name!r}" for side in (self.inputs, self.outputs) for port in side.ports]
        return ", ".join(told) or "nothing"

    def _rename(self, name: str, new: str) -> None:
        side, at = self._found(name)
        if any(one.find(new) is not None for one in (self.inputs, self.outputs)):
            raise ValueError(f"there is a {new!r} already")
        side.ports[at] = replace(side.ports[at], name=new)

    def _drop(self, name: str) -> None:
        at = self.outputs.find(name)
        if at is None:
            raise ValueError(f"there is no output of that name here, only {self._names()}")
        if len(self.outputs.ports) == 1:
            raise ValueError("no output would be left")
        del self.outputs.ports[at]

    def _ignore(self, name: str, given: Ignored) -> None:
        if any(side.find(name) is not None for side in (self.inputs, self.outputs)):
            raise ValueError(f"there is a {name!r} already")
        batch = next((port.dims[0] for port in self.inputs.ports if port.dims), "")
        free = batch if isinstance(batch, str) else f"{name}_0"
        dims = tuple((free if at == 0 else f"{name}_{at}") if d == -1 else d for at, d in enumerate(given.shape))
        self.inputs.ports.append(Port(name, Datatype[given.datatype], dims, self.inputs.pen.name(name)))

    def _default(self, at: int, step: Step, name: str) -> None:
        index = self.inputs.find(name)
        if index is None:
            raise ValueError(f"there is no input of that name here, only {self._names()}")
        if len(self.inputs.ports) == 1:
            raise ValueError("no input would be left")
        port = self.inputs.ports.pop(index)
        value = _value(step.arguments[name], port)

        def write() -> None:
            with _placed(at, step, name):
                self._write_default(port, value)

        self._defaults.append(write)

    def _write_default(self, port: Port, value: Array) -> None:
        """As many rows as those have whose first dimension has the same name, once it is known which are left."""
        pen = self._fill
        if not port.dims or isinstance(port.dims[0], int):
            pen.write("Identity", [pen.constant(value)], port.value)
            return
        left = [self._own[other.origin] for other in self.inputs.ports if other.origin]
        found = next(((own, axis) for own in left for axis, dim in enumerate(own.dims) if dim == port.dims[0]), None)
        if found is None:
            called = f" ({port.dims[0]!r})" if port.dims[0] else ""
            raise ValueError(f"its number of rows is free{called}, and no input that is left has that dimension")
        if pen.opset < _EXPANDS:
            raise ValueError(f"the model's operator set {pen.opset} cannot repeat it for every row")
        batch, axis = found
        shape = pen.write("Gather", [pen.write("Shape", [batch.value]), pen.numbers(axis)], axis=0)
        if value.ndim > 1:
            shape = pen.write("Concat", [shape, pen.numbers(*value.shape[1:])], axis=0)
        pen.write("Expand", [pen.constant(value), shape], port.value)


class Lossy(Exception):
    """A step loses something of the data."""


@contextmanager
def _placed(at: int, step: Step, name: str) -> Iterator[None]:
    """What is wrong with a step, with its place."""
    try:
        yield
    except ValueError as error:
        raise _refused(at, step, name, str(error), reason="interface_unfit") from error
    except Lossy as error:
        what = f"{error}, which loses data; `allow_lossy: true` beside it says that this is meant"
        raise _refused(at, step, name, what, reason="interface_lossy") from error


def _value(given: Any, port: Port) -> Array:
    """The value of an input, of size 1 where its size is free."""
    sizes = [dim if isinstance(dim, int) else 1 for dim in port.dims]
    if port.datatype is Datatype.BF16:
        raise ValueError("BF16 has no default")
    if port.datatype is Datatype.BYTES:
        array = np.array(given, dtype=object)
        if not all(isinstance(text, str) for text in array.flat):
            raise ValueError("expected text")
    else:
        array = exactly(given, port.datatype)
    try:
        return np.broadcast_to(array, sizes).copy()
    except ValueError:
        raise ValueError(f"a value of shape {list(array.shape)} does not fit {port}") from None


def _refused(at: int, step: Step, name: str, what: str, *, reason: str) -> ModelRejected:
    return ModelRejected(f"interface[{at}].{step.kind}.{name}: {what}.", reason=reason)
