"""Numbers that a plan gives, as a tensor has them. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np

from changeover.interface.pen import Array
from changeover.tensors import Datatype


def exactly(given: Any, datatype: Datatype) -> Array:
    """Numbers as a tensor of this datatype: integers as they are, others as near as the type has them.

    Raises:
        ValueError: these are no numbers, or none that the type has.
    """
    array = np.asarray(given)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{given!r} is no number")
    with np.errstate(all="ignore"):  # what does not fit is told below
        made = array.astype(datatype.numpy)
    if datatype.numpy.kind == "f":
        same = np.allclose(made.astype(np.float64), array.astype(np.float64), rtol=1e-2, atol=0.0, equal_nan=True)
    else:
        same = bool(np.all(made == array))
    if not same:
        raise ValueError(f"{given!r} is no value of {datatype.name}")
    return made
