"""Find every message of one kind inside a message of the ONNX format.

It follows the format's own description, field by field, so that no place is forgotten: subgraphs, attributes of nodes
and functions, sparse tensors, training information, and whatever a later format adds. Fields that hold no messages
are not touched: reading a tensor's data would copy it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

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
        for name in _inner_fields(current.DESCRIPTOR):
            value = getattr(current, name)
            if not hasattr(value, "ListFields"):  # a list of messages
                waiting.extend(value)
            elif current.HasField(name):
                waiting.append(value)


@cache
def _inner_fields(description: Any) -> tuple[str, ...]:
    """Names of the fields that hold messages, one or several."""
    return tuple(field.name for field in description.fields if field.message_type is not None)
