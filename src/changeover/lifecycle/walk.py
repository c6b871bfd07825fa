"""Find every message of one kind inside a message of the ONNX format.

It follows the format's own description, field by field, so that no place is forgotten: subgraphs, attributes of nodes
and functions, sparse tensors, training information, and whatever a later format adds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from google.protobuf.message import Message

Kind = TypeVar("Kind")


def walk(message: Message, kind: type[Kind]) -> Iterator[Kind]:
    """Yield all messages of a kind in `message`, itself included, in no particular order."""
    waiting = [message]
    while waiting:
        current = waiting.pop()
        if isinstance(current, kind):
            yield current
        for field, value in current.ListFields():
            if field.message_type is not None:
                waiting.extend((value,) if hasattr(value, "ListFields") else value)
