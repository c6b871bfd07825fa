"""Signatures that were told: sound ones can be compared, others get nowhere."""

from __future__ import annotations

import pytest

from changeover.errors import ModelRejected
from changeover.rollout.soundness import sound
from changeover.tensors import Datatype, TensorSpec
from changeover.transport.control import Signature, TensorEntry


def test_a_sound_signature() -> None:
    """As values of the data plane."""
    found = sound(Signature([TensorEntry("x", "FP32", [-1, 3])], [TensorEntry("y", "INT64", [])], False))
    assert found.inputs == (TensorSpec("x", Datatype.FP32, (-1, 3)),)
    assert found.outputs == (TensorSpec("y", Datatype.INT64, ()),)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (Signature([TensorEntry("x", "X", [-1])], [], False), "no datatype"),
        (Signature([], [TensorEntry("y", "FP32", [-2])], False), "impossible shape"),
        (Signature([TensorEntry("x", "FP32", [-1])] * 2, [], False), "twice"),
        (Signature([TensorEntry("x", "FP32", [3])], [], True), "free first dimension"),
    ],
)
def test_an_unsound_one(told: Signature, words: str) -> None:
    """With a sentence that says which rule it breaks; `test_loading_signature` has them all."""
    with pytest.raises(ModelRejected, match=words) as caught:
        sound(told)
    assert caught.value.reason == "signature_unsound"
