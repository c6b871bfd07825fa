"""Numbers that a plan gives, as a tensor has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from changeover.interface.values import exactly
from changeover.tensors import Datatype


@pytest.mark.parametrize(
    ("given", "datatype"),
    [
        (1.9, "INT64"), (100.9, "INT64"), (300, "UINT8"), (-1, "UINT64"), (2**63, "INT64"), (0.5, "BOOL"), (2, "BOOL"),
        ([1, 1.5], "INT32"), (float("nan"), "INT8"), (float("inf"), "INT64"), (1e-10, "FP16"), (1e6, "FP16"),
    ],
)  # fmt: skip
def test_what_the_type_does_not_have_is_refused(given: Any, datatype: str) -> None:
    """Nothing is rounded, cut or turned round to fit."""
    with pytest.raises(ValueError, match=f"is no value of {datatype}"):
        exactly(given, Datatype[datatype])


@pytest.mark.parametrize("given", ["1", ["a"], [1, None], 2**64])
def test_what_is_no_number_is_refused(given: Any) -> None:
    """Text, nothing, and what no integer type holds."""
    with pytest.raises(ValueError, match="is no number"):
        exactly(given, Datatype.INT64)


@pytest.mark.parametrize(
    ("given", "datatype", "wanted"),
    [
        (2.0, "INT64", 2), (2**53 + 1, "INT64", 2**53 + 1), (255, "UINT8", 255), (1, "BOOL", True), (0.1, "FP16", 0.1),
        (float("-inf"), "FP32", float("-inf")), ([1, 2.0], "INT8", [1, 2]),
    ],
)  # fmt: skip
def test_what_the_type_has_is_taken(given: Any, datatype: str, wanted: Any) -> None:
    """Integers exactly, others as near as the type has them."""
    made = exactly(given, Datatype[datatype])
    assert made.dtype == Datatype[datatype].numpy
    np.testing.assert_allclose(made, wanted, rtol=1e-3 if made.dtype.kind == "f" else 0)
