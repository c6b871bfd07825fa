"""W3C Trace Context: the field `traceparent` of a request (level 1, section 3.2). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

NAME: Final = b"traceparent"
_FORM: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[\x21-\x7e]*)?")
_LONGEST: Final = 512


@dataclass(frozen=True, slots=True)
class TraceParent:
    """Whose part a request is.

    Attributes:
        trace: 32 hexadecimal digits; `parent`: 16.
        sampled: the caller records it.
    """

    trace: str
    parent: str
    sampled: bool

    def __str__(self) -> str:
        return f"00-{self.trace}-{self.parent}-{int(self.sampled):02x}"


def parsed(value: bytes | None) -> TraceParent | None:
    """What the field says, None for what is none; a later version may have more behind what is known."""
    found = _FORM.fullmatch(value) if value is not None and len(value) <= _LONGEST else None
    if found is None:
        return None
    version, trace, parent, flags, more = found.groups()
    if version == b"ff" or (version == b"00" and more) or not trace.strip(b"0") or not parent.strip(b"0"):
        return None
    return TraceParent(trace.decode(), parent.decode(), bool(int(flags, 16) & 1))


def passed_on(value: bytes) -> bytes | None:
    """The field as an answer has it, None where the request's is none."""
    found = parsed(value)
    return None if found is None else str(found).encode()
