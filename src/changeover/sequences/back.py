"""States on their way back, from a newer version of a pair to the older one (see `moves`). Pure.

The newer version's worker converts what it hands back. When it is gone for good its states lie in the slab as it had
them; what needs nothing of the version but its layout can be done without it: a state that was carried goes as it is,
a map is undone by steps that need no file and make nothing larger, and where inputs were kept they are replayed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from changeover.sequences.declared import Layout
from changeover.sequences.mapping import Array, Tools, apply, arrays
from changeover.sequences.saved import Flag, Saved
from changeover.tensors import Datatype, from_numpy

_BY_REPLAY: Final = ("map", "replay")


def rebuilt(saved: Saved, states: Mapping[str, Array]) -> Saved:
    """A saved step with its states as the older version knows them; none at all where that one has to replay."""
    known = {tensor.name: tensor.datatype for tensor in saved.states}
    made = [from_numpy(n, array, _datatype(known.get(n), array.dtype.itemsize)) for n, array in states.items()]
    return replace(saved, states=tuple(made), flags=saved.flags | Flag.BACK)


def without_worker(saved: Saved, layout: Layout) -> Saved | None:
    """What a newer version's worker would have handed back; None where only that worker could.

    Args:
        saved: as it lies in its slab.
        layout: of the newer version.

    Raises:
        ModelRejected: `state_unfit`: a step of the way back does not fit, or a tensor is not what it says.
    """
    if layout.way_back == "carry":
        return replace(saved, flags=saved.flags | Flag.BACK)
    if layout.way_back == "map" and layout.steps_back is not None:
        return rebuilt(saved, apply(layout.steps_back, arrays(saved.states), Tools()))
    if layout.way_back in _BY_REPLAY and saved.inputs:
        return rebuilt(saved, {})
    return None


def _datatype(known: Datatype | None, itemsize: int) -> Datatype | None:
    """BF16 cannot be told from an array of its raw bits."""
    return known if known is Datatype.BF16 and itemsize == known.itemsize else None
