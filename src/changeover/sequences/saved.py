"""What one committed step of a sequence leaves behind, as bytes that describe themselves.

The same bytes lie in a slot's half (`slab.py`) and travel from one worker to another (`wire.py`: the body of RELEASE's
answer and of an import). Names, types and shapes are inside, so whoever takes a state over needs nothing else to
compare or convert it. Tensors' bytes are little endian and in C order, as everywhere (`changeover.tensors`).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntFlag
from typing import Final, NamedTuple

from changeover.errors import Internal
from changeover.tensors import Datatype, Tensor, element_count

NO_DIGEST: Final = bytes(16)
"""The digest of a request without an id."""
MOST_GENERATION: Final = 1 << 63
"""Of nanoseconds and moves there are fewer; so who adds to one stays within 64 bits."""
_MAGIC: Final = 0x31535343
_HEAD: Final = struct.Struct("<IHHQQ16sQQQHHHH")
HEAD_BYTES: Final = _HEAD.size
"""Of a packed step before its tensors: token, digest and counts."""
_TENSOR: Final = struct.Struct("<HBBQ")
_MOST_DIMS: Final = 16
_DIMS: Final = [struct.Struct(f"<{ndim}Q") for ndim in range(_MOST_DIMS + 1)]
_TYPES: Final = {int(d): d for d in Datatype}


class Token(NamedTuple):
    """Names one step for ever: a gateway's incarnation and a number that it gives once. (0, 0) names none."""

    gateway: int = 0
    number: int = 0


class Flag(IntFlag):
    """What is said of a step. START and END come from the client; STAYS: the shield moved it, see `Saved.flags`.

    BACK is said of a released state alone: a newer version hands it out as the older one knows it (`moves`).
    """

    START = 1
    END = 2
    STAYS = 4
    BACK = 8


_FLAGS: Final = {number: Flag(number) for number in range(16)}


class Summary(NamedTuple):
    """The first bytes of a saved step: see `Saved` for the fields."""

    token: Token
    digest: bytes
    flags: Flag
    generation: int
    since: int
    steps: int


@dataclass(frozen=True, slots=True)
class Saved:
    """One committed step.

    Attributes:
        token: of the step that was committed.
        digest: of the client's request id and inputs, `NO_DIGEST` where it sent no id.
        flags: START and END of that step; STAYS from an import on until the sequence begins anew or moves again.
        generation: rises by one with each move; a sequence that begins takes the machine's monotonic nanoseconds, so
            whatever is older, anywhere, is known for older.
        since: steps since the state came here from another version; equal to `steps` where it never moved.
        steps: of the whole sequence.
        states: after the step, one a declared state, with the name of the model's input.
        answer: the public outputs of that step.
        inputs: public inputs of the last steps, oldest first, as many as `replay` declares.
    """

    token: Token
    digest: bytes
    flags: Flag
    generation: int
    since: int
    steps: int
    states: tuple[Tensor, ...] = ()
    answer: tuple[Tensor, ...] = ()
    inputs: tuple[tuple[Tensor, ...], ...] = ()

    @property
    def ended(self) -> bool:
        """Whether this was the sequence's last step."""
        return bool(self.flags & Flag.END)

    def pack(self) -> bytes:
        """As bytes; `unpack` reads them."""
        lists = (self.states, *self.inputs, self.answer)
        width = len(self.inputs[0]) if self.inputs else 0
        head = _HEAD.pack(
            _MAGIC, self.flags, 0, *self.token, self.digest, self.generation, self.since, self.steps,
            len(self.states), len(self.answer), len(self.inputs), width,
        )  # fmt: skip
        return b"".join([head, *(piece for tensors in lists for tensor in tensors for piece in _pieces(tensor))])


def unpack(data: bytes | memoryview, *, answer: bool = True) -> Saved:
    """What was packed; its tensors are views of `data`.

    Args:
        data: that `pack` made.
        answer: false leaves the answer out, which a next step does not need.

    Raises:
        Internal: these are no such bytes (reason `state_malformed`).
    """
    summary = peek(data)
    *_, states, answers, inputs, width = _HEAD.unpack_from(data)
    reader = _Reader(memoryview(data), _HEAD.size)
    after = tuple([reader.tensor() for _ in range(states)])
    kept = tuple([tuple([reader.tensor() for _ in range(width)]) for _ in range(inputs)])
    if not answer:
        return Saved(*summary, after, (), kept)
    answered = tuple([reader.tensor() for _ in range(answers)])
    if reader.at != len(data):
        raise _malformed("bytes after the last tensor")
    return Saved(*summary, after, answered, kept)


def peek(data: bytes | memoryview) -> Summary:
    """The first fields alone, without a look at the tensors.

    Raises:
        Internal: these are no such bytes (reason `state_malformed`).
    """
    try:
        magic, flags, _, gateway, number, digest, generation, since, steps, *_ = _HEAD.unpack_from(data)
    except struct.error:
        raise _malformed("shorter than its header") from None
    if magic != _MAGIC or flags not in _FLAGS or generation >= MOST_GENERATION:
        raise _malformed("unknown header")
    return Summary(Token(gateway, number), digest, _FLAGS[flags], generation, since, steps)


def state_bytes(data: bytes | memoryview) -> int:
    """Bytes of the states alone. Raises as `unpack`."""
    peek(data)
    states = _HEAD.unpack_from(data)[-4]
    reader = _Reader(memoryview(data), _HEAD.size)
    return sum(len(reader.tensor().data) for _ in range(states))


class Extent(NamedTuple):
    """How large a tensor can be: its name, number of dimensions and most bytes."""

    name: str
    dims: int
    nbytes: int

    @property
    def packed(self) -> int:
        """Bytes that it takes in a saved step at most."""
        return _TENSOR.size + 8 * self.dims + len(self.name.encode()) + self.nbytes


def most_bytes(states: Sequence[Extent], answer: Sequence[Extent], inputs: Sequence[Extent], kept: int) -> int:
    """Bytes of a saved step at most, with the inputs of `kept` steps."""
    fixed = sum(extent.packed for extent in (*states, *answer))
    return _HEAD.size + fixed + kept * sum(extent.packed for extent in inputs)


def _pieces(tensor: Tensor) -> tuple[bytes | memoryview, ...]:
    name = tensor.name.encode()
    dims = _DIMS[len(tensor.shape)].pack(*tensor.shape)
    head = _TENSOR.pack(len(name), tensor.datatype, len(tensor.shape), len(tensor.data))
    return head, dims, name, tensor.data


class _Reader:
    """Takes tensors out of bytes, one after another; every length is checked against what is left."""

    def __init__(self, data: memoryview, at: int) -> None:
        self._data = data
        self.at = at

    def _take(self, size: int) -> memoryview:
        end = self.at + size
        if end > len(self._data):
            raise _malformed("a tensor ends outside")
        piece, self.at = self._data[self.at : end], end
        return piece

    def tensor(self) -> Tensor:
        """The next one."""
        named, code, ndim, nbytes = _TENSOR.unpack(self._take(_TENSOR.size))
        datatype = _TYPES.get(code)
        if datatype is None or ndim > _MOST_DIMS:
            raise _malformed("a tensor of no known type or with too many dimensions")
        shape = _DIMS[ndim].unpack(self._take(8 * ndim))
        try:
            name = bytes(self._take(named)).decode()
        except UnicodeDecodeError:
            raise _malformed("a name that is no text") from None
        if datatype.itemsize and nbytes != datatype.itemsize * element_count(shape):
            raise _malformed(f"tensor {name}: {nbytes} bytes for shape {list(shape)}")
        return Tensor(name, datatype, shape, self._take(nbytes))


def _malformed(what: str) -> Internal:
    return Internal(f"the saved state of a sequence is malformed: {what}", reason="state_malformed")
