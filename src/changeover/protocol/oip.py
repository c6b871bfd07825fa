"""The messages of the Open Inference Protocol, whichever form they came in, and the wording of refusals.

Reasons a request is refused with (`InvalidRequest`, unless marked as `TooLarge`):

| reason | meaning |
|---|---|
| `malformed_json` | the text is no JSON, or no JSON object |
| `malformed_protobuf` | the bytes are no message of gRPC's services |
| `json_too_deep` | nested deeper than `MAX_DEPTH` |
| `missing_field` | a required member is absent |
| `wrong_type` | a member, or an element of `data`, has another JSON type than its place asks for |
| `unknown_datatype` | none of the 14 datatypes |
| `invalid_shape` | not a list of integers >= 0, or more dimensions or elements than a tensor can have |
| `shape_data_mismatch` | the data has another number of elements or bytes than the shape |
| `value_out_of_range` | a number does not fit its datatype |
| `malformed_bytes` | the lengths inside a binary BYTES tensor do not fit its size or its shape |
| `conflicting_data` | an input has both `data` and `binary_data_size`, or both `contents` and raw contents |
| `binary_size_mismatch` | the binary sizes do not add up to the bytes behind the header; raw contents, to the inputs |
| `header_length_mismatch` | the header is said to be longer than the body, or empty |
| `duplicate_input`, `duplicate_output` | two of one name |
| `shared_memory_unsupported` | a tensor is said to be in a shared memory region |
| `bytes_not_utf8` | an output of BYTES cannot be written as JSON: ask for it in binary form |
| `too_many_tensors` | (`TooLarge`) over `MAX_TENSORS` inputs or outputs |
| `too_many_parameters` | (`TooLarge`) over `MAX_PARAMETERS` in one object |
| `too_many_fields` | (`TooLarge`) over `oip_grpc_wire.MAX_FIELDS` in one message of gRPC |
| `too_many_elements` | (`TooLarge`) over `MAX_BYTES_ELEMENTS` in the BYTES tensors together |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field

import msgspec

from changeover.errors import InvalidRequest
from changeover.tensors import Datatype, Raw, Tensor

MAX_DEPTH = 64  # nesting of JSON; a tensor has at most MAX_RANK dimensions, so nothing honest is deeper
MAX_RANK = 60  # numpy stops at 64; the header itself nests four deep
MAX_TENSORS = 1024  # inputs, or outputs asked for: each costs microseconds whatever its size
MAX_PARAMETERS = 256  # of a request, an input or an output
MAX_BYTES_ELEMENTS = 1 << 20  # in all BYTES tensors of a request: they are walked one by one, about 60 ns each

SHOWN = 60  # characters of a caller's own text repeated in an error


class Place(msgspec.Struct, frozen=True):
    """Where a tensor is that is not in the message: bytes of a shared memory region."""

    region: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class RequestedOutput:
    """An output a client asks for by name.

    Attributes:
        name: name of the model's output.
        binary: send it as raw bytes, not as JSON.
        parameters: as sent, for example `classification`.
        place: where it is to be written instead of into the answer.
    """

    name: str
    binary: bool
    parameters: Mapping[str, object] = field(default_factory=dict)
    place: Place | None = None


class InferRequest(msgspec.Struct):
    """A request to run a model: each tensor's data fits its shape, nothing is known of the model yet.

    Attributes:
        id: the client's name for the request, "" when it gave none.
        inputs: the tensors; their data may be views of the body.
        outputs: what the client asks for; None means every output the model has.
        parameters: as sent: `timeout` (microseconds), `priority`, `sequence_id`, ...; shared, never changed.
        binary_output: the form of outputs not asked for one by one: raw bytes, not JSON.
        places: of inputs that are in shared memory, by their index; their data is empty until it was fetched.
        remarks: parameters of the answer, none mostly.
        raw: bytes of the only input, whose shape and datatype are the model's (`oip_raw`); `inputs` is empty then.
    """

    id: str
    inputs: list[Tensor]
    outputs: Sequence[RequestedOutput] | None
    parameters: Mapping[str, object]
    binary_output: bool
    raw: memoryview | None = None
    places: Sequence[tuple[int, Place]] = ()
    remarks: Mapping[str, bool] | None = None

    def binary_flags(self, names: Sequence[str]) -> tuple[bool, ...]:
        """For each output in `names` whether the client wants it as raw bytes."""
        if self.outputs is None:
            return (self.binary_output,) * len(names)
        wanted = {output.name: output.binary for output in self.outputs}
        return tuple(wanted.get(name, self.binary_output) for name in names)


class InputHead(msgspec.Struct, frozen=True):
    """What a request's header says of one input.

    Attributes:
        name: name of the input.
        datatype: type of its elements.
        shape: its dimensions, checked against the size of the data.
        inline: raw bytes made of the header's own JSON; None when they come behind the header.
        part: where behind the header they are.
        place: where else they are.
    """

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    inline: Raw | None
    part: slice
    place: Place | None = None


class ParsedHeader(msgspec.Struct, frozen=True):
    """A request's header, checked; of equal header bytes comes an equal value, so it can be kept.

    Attributes:
        id: as in `InferRequest`, like `outputs`, `parameters` and `binary_output`.
        inputs: heads of the inputs, in the order of their raw bytes.
        payload_size: bytes that must come behind the header.
        walked: indexes of binary inputs whose content must be checked too (BOOL, BYTES).
        cut_out: index of the input whose JSON data was taken out of the header (`json_text.cut_array`).
        places: indexes and places of inputs in shared memory.
    """

    id: str
    inputs: tuple[InputHead, ...]
    outputs: tuple[RequestedOutput, ...] | None
    parameters: Mapping[str, object]
    binary_output: bool
    payload_size: int
    walked: tuple[int, ...]
    cut_out: int | None
    places: tuple[tuple[int, Place], ...] = ()


def refusal(where: str, expected: str, got: object, reason: str = "wrong_type") -> InvalidRequest:
    """The error for a member that is not as it must be: `inputs[0].shape: expected ..., got ...`."""
    return InvalidRequest(f"{where}: expected {expected}, got {describe(got)}", reason=reason)


def describe(value: object) -> str:
    """A JSON value, plain or still in the parser, in a few words: an error must not repeat a megabyte."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return repr(value if len(value) <= SHOWN else value[:SHOWN] + "…")
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, Sized) and not hasattr(value, "keys"):
        return f"a list of {len(value)}"
    return "an object"
