"""Which objects of the doors are alive: a connection that has ended waits for no collector."""

from __future__ import annotations

import contextlib
import gc
from collections import Counter
from collections.abc import Iterator

_TRANSPORTS = frozenset(("TCPTransport", "SSLProtocol", "_SSLProtocolTransport"))
_SHARED = "changeover.gateway.door.head"
"""Its objects are in the cache of all connections."""


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """What is left of earlier tests is swept up, and then nothing is until the end of the block."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def living() -> Counter[str]:
    """How many objects there are of each class of the doors, and of uvloop's transports."""
    kinds = Counter(type(one) for one in gc.get_objects())
    found: Counter[str] = Counter()
    for kind, count in kinds.items():
        module = str(kind.__module__)
        ours = module.startswith("changeover.gateway.door.") and module != _SHARED
        if ours or kind.__name__ in _TRANSPORTS:
            found[kind.__name__] += count
    return found
