"""The typed messages as they travel."""

from __future__ import annotations

import msgspec
import pytest

from changeover.tensors import Datatype, TensorSpec
from changeover.transport import control
from changeover.transport.control import LoadingEntry, RoutingTable, Signature, TensorEntry, encode

SIGNATURE = Signature([TensorEntry("x", "BF16", [-1, 4])], [TensorEntry("y", "BYTES", [])], True)
TABLE = RoutingTable("m", 1, 2**60, [(9_900, 1), (100, 2)], [LoadingEntry(1, "3", "d", SIGNATURE, 32, 30.0)], 1)


@pytest.mark.parametrize(
    "message",
    [
        TABLE,
        control.Spawn(1, control.WorkerSpec(1, "m", "1", "d", "p", "c", "e", signature=SIGNATURE)),
        control.WorkerSpec(1, "m", "1", "d", "p", "c", "e", faults=(control.Fault("leak", 3, 0.5, bytes=7, when="w"),)),
        control.WorkerStatus(
            1, "ready", signature=SIGNATURE, gates=[control.GateResult("g", "passed", "", {"n": [1]})]
        ),
        control.Acknowledged(1, 2, {3: 4}, 2**62, 0),
        control.Prepared(1, [2, 3], "why not"),
    ],
    ids=lambda m: type(m).__name__,
)
def test_a_message_comes_back_equal(message: msgspec.Struct) -> None:
    """Optional parts, nested parts, keys that are numbers."""
    assert msgspec.json.decode(encode(message), type=type(message)) == message


def test_an_entry_is_a_spec_for_the_data_plane() -> None:
    """Names of datatypes become datatypes."""
    assert SIGNATURE.inputs[0].spec() == TensorSpec("x", Datatype.BF16, (-1, 4))
    assert SIGNATURE.outputs[0].spec() == TensorSpec("y", Datatype.BYTES, ())


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"word": "x", "epochs": []}', b'{"word": 1}'])
def test_what_is_no_such_message_is_refused(data: bytes) -> None:
    """By an error of msgspec, which the reader of the link expects."""
    with pytest.raises(msgspec.MsgspecError):
        msgspec.json.decode(data, type=control.Prepare)
