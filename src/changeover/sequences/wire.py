"""How gateways and workers speak of sequences over a channel: records beside the tensors of a batch.

A message of kind `Message.STEP` is a run like `RUN`, with one record a ticket (`Ask`, in the order of the tickets);
`Message.RECORDS` has records only and nothing runs. The records are one more part of the slot, at the position
`POSITION`, behind the inputs: `pack_asks`. The answer has a part at the same position: `pack_told`, one `Told` each.

Of a STEP every row has its place in the outputs; the rows of those that did not run (any status but OK) are zeros.

* **STEP** advances the sequence by one step and commits it. With a body (a released `Saved`, packed) it takes that over
  first, unless its own record is as young or younger. OK, or why nothing was done: DUPLICATE, UNKNOWN, MOVED,
  ENDED, EXPIRED, FULL, NOT_FINITE, TOO_LARGE, BAD_STATE.
* **RELEASE** hands the sequence out for the loading `to`: it is marked, and the body is its `Saved` with the next
  generation. A step in hand ends first. OK; MOVED: released before, the same body again; UNKNOWN, ENDED, EXPIRED.
* **IMPORT** takes a released `Saved` over without a step: OK (also when its own record is as young or younger),
  FULL, TOO_LARGE, BAD_STATE.
* **FORGET** ends the sequence without a step, unless it is of the generation given or younger: OK, UNKNOWN.

A record is copied out of the slot before it is read.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Final, NamedTuple

from changeover.errors import Internal
from changeover.sequences.geometry import MOST_SAVED
from changeover.sequences.saved import MOST_GENERATION, NO_DIGEST, Flag, Token
from changeover.tensors import Raw, Tensor

POSITION: Final = 0xFFFF
"""The place of the records among the parts of a message; no model has so many tensors."""
MOST_ID_BYTES: Final = 128
_ASK: Final = struct.Struct("<BBH4xQQ16s16sQQQ152s")
_TOLD: Final = struct.Struct("<B7xQQQQQ")
ASK_BYTES: Final = _ASK.size
"""Of one `Ask` without its body."""
TOLD_BYTES: Final = _TOLD.size
"""Of one `Told` without its body."""
MOST_WHY: Final = 1 << 16
"""Of the sentence with `BAD_STATE`; another worker's names may be in it."""
_COUNT: Final = struct.Struct("<Q")
_UINT: Final = b"\x01"
_TEXT: Final = b"\x02"


class Verb(IntEnum):
    """What a gateway asks of a sequence's record."""

    STEP = 1
    RELEASE = 2
    IMPORT = 3
    FORGET = 4


class Status(IntEnum):
    """What became of it. Only OK has changed anything."""

    OK = 0
    DUPLICATE = 1  # this step was committed before: the body is its `Saved`, whose answer goes out
    UNKNOWN = 2  # no record, and none that is remembered
    MOVED = 3  # released to the loading `moved_to`; of RELEASE: the body is the state once more
    ENDED = 4
    EXPIRED = 5
    FULL = 6  # as many sequences live as may
    NOT_FINITE = 7  # the step's outputs or states hold NaN or infinities, and gates.warmup.finite forbids it
    TOO_LARGE = 8  # the step's answer or state does not fit its slot
    BAD_STATE = 9  # the state that came cannot be taken over by this version; the body says why


_VERBS: Final = frozenset(map(int, Verb))
_STATUSES: Final = frozenset(map(int, Status))


class Ask(NamedTuple):
    """One record as a gateway sends it.

    Attributes:
        verb: what to do.
        token: of the step; the same when it is sent again.
        key: `sequence_key` of the id.
        tag: `sequence_tag` of the id.
        flags: START, END; STAYS with a body: the shield has moved it.
        digest: of the request's id and inputs (`request_digest`).
        generation: of a body; of FORGET, one from which on nothing is forgotten; else 0.
        to: of RELEASE, the loading that it goes to.
        body: a packed `Saved` to be taken over, or nothing.
    """

    verb: Verb
    token: Token
    key: bytes
    tag: bytes
    flags: Flag = Flag(0)
    digest: bytes = NO_DIGEST
    generation: int = 0
    to: int = 0
    body: bytes = b""


class Told(NamedTuple):
    """One record as a worker answers it.

    Attributes:
        status: what became of it.
        generation: of the record now; of RELEASE's body, 0 where there is none.
        since: steps since the state came from elsewhere.
        steps: of the whole sequence.
        moved_to: of MOVED, the loading.
        body: see `Verb` and `Status`.
    """

    status: Status
    generation: int = 0
    since: int = 0
    steps: int = 0
    moved_to: int = 0
    body: bytes = b""


def sequence_tag(identity: int | str) -> bytes:
    """A sequence's id as bytes in which 5 and "5" differ.

    Raises:
        ValueError: not from 1 to 2**64 - 1, or a text that is empty or longer than 128 bytes.
    """
    if isinstance(identity, int):
        if not 0 < identity < 1 << 64:
            raise ValueError(f"{identity} is not from 1 to 2**64 - 1")
        return _UINT + str(identity).encode()
    text = identity.encode()
    if not 0 < len(text) <= MOST_ID_BYTES:
        raise ValueError(f"a sequence id of {len(text)} bytes; from 1 to {MOST_ID_BYTES} are taken")
    return _TEXT + text


def identity(tag: bytes) -> int | str:
    """The id of a tag.

    Raises:
        ValueError: no such tag.
    """
    if tag[:1] == _UINT:
        return int(tag[1:])
    if tag[:1] == _TEXT:
        return tag[1:].decode()
    raise ValueError(f"{tag!r} is no sequence's tag")


def sequence_key(tag: bytes) -> bytes:
    """The 16 bytes by which slab and gateways know a sequence."""
    return hashlib.blake2b(tag, digest_size=16).digest()


def request_digest(request_id: str, inputs: Iterable[Tensor] = ()) -> bytes:
    """16 bytes of a client's request id and what it sends with it; `NO_DIGEST` without an id, whatever is sent.

    Clients that give each of their requests the same id are many, so the id alone names no step.
    """
    if not request_id:
        return NO_DIGEST
    name = request_id.encode()
    digest = hashlib.blake2b(_COUNT.pack(len(name)) + name, digest_size=16)
    for tensor in sorted(inputs, key=lambda t: t.name):
        said = f"{tensor.name!r} {tensor.datatype} {list(tensor.shape)}".encode(errors="surrogatepass")
        digest.update(_COUNT.pack(len(said)) + said + _COUNT.pack(len(tensor.data)))
        digest.update(tensor.data)
    return digest.digest()


def pack_asks(asks: Sequence[Ask]) -> bytes:
    """Records as they travel: their number, all fixed parts, then all bodies."""
    fixed = [
        _ASK.pack(a.verb, a.flags, len(a.tag), *a.token, a.key, a.digest, a.generation, a.to, len(a.body), a.tag)
        for a in asks
    ]
    return b"".join([_COUNT.pack(len(fixed)), *fixed, *(a.body for a in asks)])


def unpack_asks(data: bytes) -> list[Ask]:
    """The records of `pack_asks`.

    Raises:
        Internal: lengths or values that make no sense (reason `channel_malformed`).
    """
    bodies = _Bodies(data, ASK_BYTES)
    asks: list[Ask] = []
    for at in range(bodies.count):
        verb, flags, tagged, gateway, number, key, digest, generation, to, size, tag = _ASK.unpack_from(
            data, _COUNT.size + at * ASK_BYTES
        )
        if verb not in _VERBS or flags > Flag.START | Flag.END | Flag.STAYS or tagged > MOST_ID_BYTES + 1:
            raise _malformed(f"record {at}")
        token, body = Token(gateway, number), bodies.take(size)
        asks.append(Ask(Verb(verb), token, key, tag[:tagged], Flag(flags), digest, generation, to, body))
    bodies.end()
    return asks


def pack_told(told: Sequence[Told]) -> bytes:
    """Answers as they travel: their number, all fixed parts, then all bodies."""
    fixed = [_TOLD.pack(t.status, t.generation, t.since, t.steps, t.moved_to, len(t.body)) for t in told]
    return b"".join([_COUNT.pack(len(fixed)), *fixed, *(t.body for t in told)])


def unpack_told(memory: Raw, most: int, largest: int = MOST_SAVED) -> list[Told]:
    """The answers of `pack_told`.

    The memory may be that of a hostile worker, who writes to it meanwhile. So nothing is believed but what was copied,
    and no body is copied before all lengths are known and possible.

    Args:
        memory: where they lie.
        most: records that were asked.
        largest: bytes that the body of one may have.

    Raises:
        Internal: lengths or values that make no sense (reason `channel_malformed`).
    """
    count = _COUNT.unpack(bytes(memory[: _COUNT.size]))[0] if len(memory) >= _COUNT.size else 0
    at = _COUNT.size + count * TOLD_BYTES
    if count > most or at > len(memory):
        raise _malformed(f"{count} answers to {most} records, in {len(memory)} bytes")
    fixed = list(_TOLD.iter_unpack(bytes(memory[_COUNT.size : at])))
    for record, (status, generation, *_, size) in enumerate(fixed):
        if status not in _STATUSES or generation >= MOST_GENERATION or size > largest:
            raise _malformed(f"record {record}")
    if at + sum(size for *_, size in fixed) != len(memory):
        raise _malformed(f"{len(memory)} bytes, and their lengths say other ones")
    told: list[Told] = []
    for status, generation, since, steps, moved_to, size in fixed:
        told.append(Told(Status(status), generation, since, steps, moved_to, bytes(memory[at : at + size])))
        at += size
    return told


class _Bodies:
    """What follows the fixed parts, taken one after another."""

    def __init__(self, data: bytes, fixed: int) -> None:
        self.count = _COUNT.unpack_from(data)[0] if len(data) >= _COUNT.size else 0
        self._data, self._at = data, _COUNT.size + self.count * fixed
        if self._at > len(data):
            raise _malformed(f"{len(data)} bytes for {self.count} records")

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        start, self._at = self._at, self._at + size
        if self._at > len(self._data):
            raise _malformed("a body ends outside")
        return self._data[start : self._at]

    def end(self) -> None:
        """Nothing is left."""
        if self._at != len(self._data):
            raise _malformed("bytes after the last body")


def _malformed(what: str) -> Internal:
    return Internal(f"a message on sequences is malformed: {what}", reason="channel_malformed")
