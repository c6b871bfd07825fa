"""What a gateway asks the controller, and how it is answered: a question has a socket of its own.

The question goes over the link (`Kind.ASK`) with one end of a new socket pair; the answer comes on the other, whole,
and then the end. Whoever dies on the way closes the socket, so nobody waits for the dead. What is long lies in a
sealed memfd that goes along.
"""

from __future__ import annotations

import os
from typing import Any, Literal

import msgspec

from changeover import errors
from changeover.errors import ChangeoverError, Internal, Unavailable
from changeover.transport.page import is_sealed

What = Literal["index", "load", "unload"]


class Ask(msgspec.Struct, frozen=True):
    """A question.

    Attributes:
        what: is to be done.
        model: of a load or unload.
        ready: of an index: only what serves.
        body: bytes of the memory that are a load's body as it came over HTTP; 0 for none.
        parts: else names and sizes of a load's parameters, which follow one another in the memory.
    """

    what: What
    model: str = ""
    ready: bool = False
    body: int = 0
    parts: tuple[tuple[str, int], ...] = ()

    @property
    def size(self) -> int:
        """Bytes of the memory."""
        return self.body or sum(size for _, size in self.parts)


class Answer(msgspec.Struct, frozen=True):
    """A result, or an error by its class, sentence and reason."""

    result: Any = None
    kind: str = ""
    error: str = ""
    reason: str = ""


_KINDS = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, ChangeoverError) and kind is not ChangeoverError
}


def answered(result: object) -> bytes:
    """A result as it travels."""
    return msgspec.json.encode(Answer(result))


def refused(error: ChangeoverError) -> bytes:
    """An error as it travels."""
    return msgspec.json.encode(Answer(None, type(error).__name__, error.message, error.reason))


def result_of(data: bytes) -> Any:
    """What was answered.

    Raises:
        ChangeoverError: the error that was answered.
        Unavailable: nothing was, or not to the end (`controller_away`).
    """
    try:
        answer = msgspec.json.decode(data, type=Answer)
    except msgspec.MsgspecError:
        raise Unavailable(
            "the controller has ended, or is being replaced; what was begun goes on, ask again in a moment",
            reason="controller_away",
        ) from None
    if not answer.kind:
        return answer.result
    raise _KINDS.get(answer.kind, Internal)(answer.error, reason=answer.reason)


def read(ask: Ask, memory: int) -> list[tuple[str, bytes]]:
    """The parts that came in a question's memory; its body as one without a name.

    Raises:
        Internal: the memory is not what was told (`ask_malformed`).
    """
    if not is_sealed(memory) or os.fstat(memory).st_size != ask.size:
        raise Internal("a gateway asked with memory of another size than it told", reason="ask_malformed")
    parts = [("", ask.body)] if ask.body else ask.parts
    found, at = [], 0
    for name, size in parts:
        found.append((name, os.pread(memory, size, at)))
        at += size
    return found
