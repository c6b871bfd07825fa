"""Message types made ready before threads decode them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import msgspec


def build() -> list[str]:
    """Have msgspec make what it keeps for each type of message that is imported; returns their names.

    It does so when a type is decoded for the first time. Another thread that decodes the same type meanwhile is given
    what is half made, and the process dies by SIGSEGV (msgspec 0.22, `json_decode_struct_map_inner` on a field without
    a type). So it has to be done before there is a second thread.
    """
    made = []
    for kind in _below(msgspec.Struct):
        if kind.__module__.startswith("changeover."):
            with suppress(TypeError, NameError):  # one that is only ever encoded, or never leaves its process
                msgspec.json.Decoder(kind)
                made.append(kind.__name__)
    return made


def _below(kind: type) -> Iterator[type]:
    below: list[type] = kind.__subclasses__()
    for one in below:
        yield one
        yield from _below(one)
