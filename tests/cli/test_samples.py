"""Inputs made up for a model."""

from __future__ import annotations

from typing import Any

import pytest

from changeover.cli.exits import Usage
from changeover.cli.samples import read_samples
from changeover.tensors import Datatype, from_numpy


def declared(datatype: str, shape: list[int]) -> list[dict[str, Any]]:
    return [{"name": "x", "datatype": datatype, "shape": shape}]


@pytest.mark.parametrize("datatype", [member.name for member in Datatype if member is not Datatype.BF16])
def test_every_datatype(datatype: str) -> None:
    """Each datatype gets samples that can be sent as it."""
    samples = read_samples(declared(datatype, [-1, 2]), None)
    assert samples.batched
    assert samples.inputs["x"].shape == (16, 2)
    assert from_numpy("x", samples.inputs["x"][:1]).datatype.name == datatype


def test_a_fixed_first_dimension_is_kept() -> None:
    """A model without a free batch dimension gets samples of exactly its shape."""
    samples = read_samples(declared("FP32", [1, 1, 28, 28]), None)
    assert not samples.batched
    assert samples.inputs["x"].shape == (16, 1, 1, 28, 28)


def test_large_inputs_are_fewer() -> None:
    """Samples of a large input stay below 64 MiB together."""
    assert len(read_samples(declared("FP32", [-1, 3, 1024, 1024]), None).inputs["x"]) == 2


def test_bf16_is_refused() -> None:
    """What numpy cannot express is refused with a sentence."""
    with pytest.raises(Usage, match="BF16"):
        read_samples(declared("BF16", [-1, 2]), None)
