"""The `interface` steps that would let clients of an old model use a new one, as far as they can be told. Pure.

What shapes, types, names and labels decide is `certain`. What only looks so is proposed and marked; what cannot be told
from two files, such as whether pixels go from 0 to 255 or to 1, is said in words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import pairwise, permutations
from typing import Any, Final

import numpy as np

from changeover.interface.ports import Dim, Port
from changeover.tensors import Datatype
from changeover.workbench.described import Described

_MOST_AXES: Final = 6
"""Above so many dimensions the permutations are not gone through."""
_ALIKE: Final = 0.6
_FLOATS: Final = (Datatype.FP16, Datatype.FP32, Datatype.FP64)


@dataclass(frozen=True, slots=True)
class Proposed:
    """One step, as a plan has it.

    Attributes:
        certain: nothing else could be meant.
        why: what it is for, or what has to be looked at.
    """

    step: dict[str, Any]
    certain: bool
    why: str


@dataclass(slots=True)
class Proposal:
    """Steps, from the model outwards, and what nobody can tell from two files."""

    steps: list[Proposed] = field(default_factory=list)
    undecided: list[str] = field(default_factory=list)


def propose(old: Described, new: Described) -> Proposal:
    """What a plan of the new model would have to say."""
    made = Proposal()
    for kind, before, after in (("input", old.inputs, new.inputs), ("output", old.outputs, new.outputs)):
        pairs, gone, come = _paired(before, after)
        names: list[Proposed] = []
        steps: list[Proposed] = []
        for theirs, ours, sure in pairs:
            if theirs.name != ours.name:
                why = "the only one that fits" if sure else "looks most alike: is it the same thing?"
                names.append(Proposed({"rename": {ours.name: theirs.name}}, sure, why))
            steps += _adapting(kind, theirs, ours, old, new)
            made.undecided += _open(kind, theirs, ours)
        made.steps += [*_in_order(names), *steps, *_unpaired(kind, gone, come, made.undecided)]
    return made


def _in_order(names: list[Proposed]) -> list[Proposed]:
    """Renames so that no name is given while another still has it; a circle goes by a third name."""
    left, done = list(names), []
    while left:
        taken = {_pair(one)[0] for one in left}
        free = next((one for one in left if _pair(one)[1] not in taken), None)
        if free is None:
            first = left.pop(0)
            old, new = _pair(first)
            done.append(Proposed({"rename": {old: f"{old}_"}}, first.certain, "names change places"))
            left.append(Proposed({"rename": {f"{old}_": new}}, first.certain, first.why))
        else:
            left.remove(free)
            done.append(free)
    return done


def _pair(one: Proposed) -> tuple[str, str]:
    ((old, new),) = one.step["rename"].items()
    return old, new


def _paired(old: Sequence[Port], new: Sequence[Port]) -> tuple[list[tuple[Port, Port, bool]], list[Port], list[Port]]:
    """Which is which: by name, else the only one of its type and shape, else the last one left, else by likeness."""
    names = {port.name: port for port in new}
    pairs = [(port, names[port.name], True) for port in old if port.name in names]
    gone = [port for port in old if port.name not in names]
    come = [port for port in new if port.name not in {port.name for port in old}]
    for theirs in list(gone):
        same = [ours for ours in come if ours.datatype == theirs.datatype and _same(ours.dims, theirs.dims)]
        rivals = [port for port in gone if port.datatype == theirs.datatype and _same(port.dims, theirs.dims)]
        if len(same) == len(rivals) == 1:
            pairs.append((theirs, same[0], True))
            gone.remove(theirs)
            come.remove(same[0])
    if len(gone) == len(come) == 1 and (len(old) == len(new) == 1 or _alike(gone[0], come[0])):
        pairs.append((gone.pop(), come.pop(), len(old) == len(new) == 1))
    for theirs in list(gone):
        best = max(come, key=lambda ours: _likeness(theirs, ours), default=None)
        if best is not None and _likeness(theirs, best) > _ALIKE:
            pairs.append((theirs, best, False))
            gone.remove(theirs)
            come.remove(best)
    return pairs, gone, come


def _alike(one: Port, other: Port) -> bool:
    """As many dimensions that count."""
    rank, rest = (sum(dim != 1 for dim in port.dims) for port in (one, other))
    return rank == rest


def _likeness(one: Port, other: Port) -> float:
    same = 0.2 * (one.datatype == other.datatype) + 0.2 * (len(one.dims) == len(other.dims))
    return SequenceMatcher(None, one.name.lower(), other.name.lower()).ratio() + same


def _same(one: Sequence[Dim], other: Sequence[Dim]) -> bool:
    return len(one) == len(other) and all(
        a == b or isinstance(a, str) or isinstance(b, str) for a, b in zip(one, other, strict=True)
    )


def _adapting(kind: str, theirs: Port, ours: Port, old: Described, new: Described) -> Iterator[Proposed]:
    """From our tensor to theirs, which has its name by now."""
    name = theirs.name
    if kind == "output":
        if old.ends.get(theirs.name) == "Softmax" and new.ends.get(ours.name) != "Softmax":
            yield Proposed({"softmax": {name: -1}}, False, "the old model ends in a Softmax, the new one does not")
        yield from _classes(theirs, ours, old.labels, new.labels)
    dims = list(ours.dims)
    if kind == "output" and _counts(theirs, ours) and old.labels and new.labels:
        dims[-1] = theirs.dims[-1]
    yield from _shaped(kind, name, list(theirs.dims), dims)
    if theirs.datatype != ours.datatype and Datatype.BYTES not in (theirs.datatype, ours.datatype):
        source, target = (theirs, ours) if kind == "input" else (ours, theirs)
        step: dict[str, Any] = {"cast": {name: theirs.datatype.name}}
        lossy = not np.can_cast(source.datatype.numpy, target.datatype.numpy, "safe") or (
            source.datatype in (Datatype.INT64, Datatype.UINT64) and target.datatype in _FLOATS
        )
        if lossy:
            step["allow_lossy"] = True
        why = f"{source.datatype.name} becomes {target.datatype.name}{', which loses data' if lossy else ''}"
        yield Proposed(step, not lossy, why)


def _counts(theirs: Port, ours: Port) -> bool:
    """Whether these are scores of classes."""
    both = [port.dims[-1] for port in (theirs, ours) if port.dims]
    return len(both) == 2 and all(isinstance(dim, int) and dim > 1 for dim in both) and ours.datatype in _FLOATS


def _classes(theirs: Port, ours: Port, old: Sequence[str], new: Sequence[str]) -> Iterator[Proposed]:
    if not _counts(theirs, ours) or not old or not new or old == new:
        return
    if len(old) != theirs.dims[-1] or len(new) != ours.dims[-1]:
        return
    if set(old) - set(new):
        return  # `_open` says so
    step: dict[str, Any] = {"labels": {theirs.name: {"classes": [new.index(name) for name in old]}}}
    left = [name for name in new if name not in old]
    if left:
        step["allow_lossy"] = True
    why = f"classes that clients do not know go: {', '.join(left[:5])}" if left else "the classes are in another order"
    yield Proposed(step, not left, why)


def _shaped(kind: str, name: str, theirs: list[Dim], ours: list[Dim]) -> Iterator[Proposed]:
    """From our shape to theirs."""
    if _fits(kind, theirs, ours):
        return
    bare = [[dim for dim in dims if dim != 1] for dims in (theirs, ours)]
    if len(theirs) != len(ours) and _same(*bare):
        yield from _ones(kind, name, theirs, ours)
        return
    orders = _orders(kind, theirs, ours)
    if orders:
        why = "the axes are in another order" if len(orders) == 1 else "the axes are in another order: is it this one?"
        yield Proposed({"transpose": {name: list(orders[0])}}, len(orders) == 1, why)
        return
    sizes = [int(np.prod([dim for dim in dims if isinstance(dim, int)])) for dims in (theirs, ours)]
    free = [sum(isinstance(dim, str) for dim in dims) for dims in (theirs, ours)]
    if sizes[0] == sizes[1] and free[0] == free[1] <= 1:
        shape = [dim if isinstance(dim, int) else -1 for dim in theirs]
        yield Proposed({"reshape": {name: shape}}, False, "as many values: do they lie in the same order?")


def _fits(kind: str, theirs: Sequence[Dim], ours: Sequence[Dim]) -> bool:
    """Whether their shape will do as it is; a model may leave free what clients fix."""
    if len(theirs) != len(ours):
        return False
    pairs = list(zip(theirs, ours, strict=True))
    if kind == "input":
        return all(isinstance(own, str) or own == their for their, own in pairs)
    return all(own == their or isinstance(own, str) or isinstance(their, str) for their, own in pairs)


def _ones(kind: str, name: str, theirs: Sequence[Dim], ours: Sequence[Dim]) -> Iterator[Proposed]:
    """Axes of length 1 that only one side has."""
    more, fewer = (ours, theirs) if len(ours) > len(theirs) else (theirs, ours)
    left, extra = list(fewer), []
    for at, dim in enumerate(more):
        if left and (left[0] == dim or (dim != 1 and left[0] != 1)):
            left.pop(0)
        elif dim == 1:
            extra.append(at)
    if left or len(extra) != len(more) - len(fewer):
        return
    inwards = kind == "input"
    operation = "unsqueeze" if (more is ours) == inwards else "squeeze"
    sure = sum(dim == 1 for dim in more) == len(extra)
    yield Proposed(
        {operation: {name: extra}}, sure, "an axis of length 1" if sure else "which of the axes of length 1?"
    )


def _orders(kind: str, theirs: Sequence[Dim], ours: Sequence[Dim]) -> list[tuple[int, ...]]:
    """Orders of axes that lead from one to the other, those first that keep most neighbours together."""
    rank = len(ours)
    if rank != len(theirs) or rank > _MOST_AXES:
        return []
    source, target = (theirs, ours) if kind == "input" else (ours, theirs)
    free = [any(isinstance(dim, str) for dim in dims[1:]) for dims in (theirs, ours)]
    if any(free) or (isinstance(source[0], str) != isinstance(target[0], str)):
        return []
    first = isinstance(source[0], str)
    fits = [
        order
        for order in permutations(range(rank))
        if (not first or order[0] == 0)
        and all(source[order[at]] == target[at] for at in range(1 if first else 0, rank))
    ]
    return sorted(fits, key=lambda order: -sum(b == a + 1 for a, b in pairwise(order)))


def _open(kind: str, theirs: Port, ours: Port) -> Iterator[str]:
    """What nobody can tell of a pair."""
    name = theirs.name
    if theirs.datatype != ours.datatype and Datatype.BYTES in (theirs.datatype, ours.datatype):
        yield f"{kind} {name!r}: {ours.datatype.name} instead of {theirs.datatype.name}, and text cannot be cast"
    narrow = {theirs.datatype, ours.datatype} & {Datatype.UINT8, Datatype.INT8}
    if kind == "input" and narrow and theirs.datatype != ours.datatype:
        yield f"input {name!r}: do the values need a `scale`, as from 0-255 to 0-1, or a mean and a standard deviation?"
    if kind == "output" and _counts(theirs, ours) and theirs.dims[-1] != ours.dims[-1]:
        yield (
            f"output {name!r}: {ours.dims[-1]} classes instead of {theirs.dims[-1]}: which are the clients'? "
            "(`labels`, with the model's class for each of them)"
        )
        return
    permuted = sorted(map(str, theirs.dims)) == sorted(map(str, ours.dims))
    if len(theirs.dims) != len(ours.dims):
        return
    for at, (their, own) in enumerate(zip(theirs.dims, ours.dims, strict=True)):
        if isinstance(their, int) and isinstance(own, int) and their != own and not permuted:
            yield f"{kind} {name!r}: {own} instead of {their} along axis {at}: `pad`, `slice`, or prepared otherwise?"
        elif kind == "input" and isinstance(their, str) and isinstance(own, int):
            yield f"input {name!r}: axis {at} was free and takes {own} only"


def _unpaired(kind: str, gone: Sequence[Port], come: Sequence[Port], undecided: list[str]) -> Iterator[Proposed]:
    if kind == "input":
        for port in come:
            value: Any = "" if port.datatype is Datatype.BYTES else 0
            yield Proposed({"default": {port.name: value}}, False, f"{port} is new: which value do old clients mean?")
        for port in gone:
            shape = [dim if isinstance(dim, int) else -1 for dim in port.dims]
            told = {"datatype": port.datatype.name, "shape": shape}
            yield Proposed({"ignore": {port.name: told}}, True, "clients send it, and the model does not take it")
    else:
        undecided += [f"output {port} is gone, and clients read it" for port in gone]
