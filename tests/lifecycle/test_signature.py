"""Signatures: what may replace what without a client noticing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from changeover.errors import ModelRejected
from changeover.lifecycle.signature import ModelSignature, differences, require_compatible
from changeover.tensors import Datatype, TensorSpec

F, INT = Datatype.FP32, Datatype.INT64
ACTIVE = ModelSignature(
    inputs=(TensorSpec("image", F, (-1, 28, 28)), TensorSpec("scale", F, (1,))),
    outputs=(TensorSpec("digit", INT, (-1,)), TensorSpec("scores", F, (-1, 10))),
    batchable=True,
    opset=17,
)


def with_input(*specs: TensorSpec) -> ModelSignature:
    """The active signature with these inputs in place of the ones of the same name, others added."""
    named = {spec.name: spec for spec in (*ACTIVE.inputs, *specs)}
    return replace(ACTIVE, inputs=tuple(named.values()))


def with_output(*specs: TensorSpec) -> ModelSignature:
    """The same for outputs."""
    named = {spec.name: spec for spec in (*ACTIVE.outputs, *specs)}
    return replace(ACTIVE, outputs=tuple(named.values()))


@pytest.mark.parametrize(
    "candidate",
    [
        ACTIVE,
        replace(ACTIVE, opset=21, producer="another", metadata={"a": "b"}),
        replace(ACTIVE, inputs=ACTIVE.inputs[::-1], outputs=ACTIVE.outputs[::-1]),
        with_input(TensorSpec("image", F, (-1, -1, -1))),
        with_output(TensorSpec("extra", F, (-1, 3))),
        with_output(TensorSpec("scores", F, (-1, -1))),
    ],
    ids=["same", "other producer", "other order", "wider input", "more outputs", "free output"],
)
def test_a_candidate_that_serves_every_client_passes(candidate: ModelSignature) -> None:
    """Order and origin do not matter, wider inputs and more outputs harm nobody."""
    assert differences(ACTIVE, candidate) == []
    require_compatible(ACTIVE, candidate)


@pytest.mark.parametrize(
    ("candidate", "sentence"),
    [
        (replace(ACTIVE, inputs=ACTIVE.inputs[:1]), "input 'scale' is missing"),
        (with_input(TensorSpec("mask", F, (1,))), "input 'mask' is new, and no client sends it"),
        (with_input(TensorSpec("scale", INT, (1,))), "input 'scale' is INT64 instead of FP32"),
        (
            with_input(TensorSpec("image", F, (-1, 32, 28))),
            "input 'image' takes [any, 32, 28], not all of [any, 28, 28]",
        ),
        (with_input(TensorSpec("image", F, (1, 28, 28))), "input 'image' takes [1, 28, 28], not all of [any, 28, 28]"),
        (with_input(TensorSpec("scale", F, ())), "input 'scale' takes [], not all of [1]"),
        (replace(ACTIVE, outputs=ACTIVE.outputs[:1]), "output 'scores' is missing"),
        (with_output(TensorSpec("digit", F, (-1,))), "output 'digit' is FP32 instead of INT64"),
        (with_output(TensorSpec("scores", F, (-1, 11))), "output 'scores' is [any, 11] instead of [any, 10]"),
        (with_output(TensorSpec("scores", F, (1, 10))), "output 'scores' is [1, 10] instead of [any, 10]"),
        (with_output(TensorSpec("scores", F, (-1, 10, 1))), "output 'scores' is [any, 10, 1] instead of [any, 10]"),
    ],
)
def test_each_difference_is_told(candidate: ModelSignature, sentence: str) -> None:
    """In a sentence that names the tensor and both sides."""
    assert differences(ACTIVE, candidate) == [sentence]
    with pytest.raises(ModelRejected) as caught:
        require_compatible(ACTIVE, candidate)
    assert caught.value.reason == "signature_changed"
    assert sentence in caught.value.message


def test_all_differences_are_told_at_once() -> None:
    """One attempt shows everything there is to mend."""
    other = ModelSignature((TensorSpec("x", F, (1,)),), (TensorSpec("y", F, (1,)),), False, 17)
    assert len(differences(ACTIVE, other)) == 5
