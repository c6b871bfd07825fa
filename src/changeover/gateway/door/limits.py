"""What one client, one connection and the whole gateway may cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

SMALL_BODY: Final = 64 * KIB
"""Bodies up to this size have a quarter of the gateway's budget to themselves."""

INBOX_BYTES: Final = 64 * KIB
"""Bytes read ahead (pipelined requests) at which a connection's reading is paused."""

TICK_SECONDS: Final = 0.25
"""One coarse clock for every time-out: all of them are late by up to this much."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of the HTTP/1.1 door; sizes in bytes, times in seconds, rates in bytes per second.

    A body must be there after `body_seconds` plus its received size at `byte_rate`, so a large upload has
    time and a trickle does not; an unsent answer has `write_seconds` plus its size at the same rate.

    Attributes:
        header_bytes: request line and header fields together.
        header_fields: number of header fields.
        body_bytes: one request's body, sized or chunked.
        instead: what to do with a larger one, for the sentence of its refusal.
        header_seconds: from the first byte of a head to its end, and from accept to the first byte.
        body_seconds: base time for a body.
        idle_seconds: a kept-alive connection between two requests.
        write_seconds: base time for an answer the client is slow to read.
        byte_rate: the slowest transfer worth holding memory for.
        linger_seconds: how long input is thrown away after a last answer, so that the answer arrives
            instead of a reset.
        wait_seconds: how long a body waits for the gateway's budget before it is shed with 503.
        probe_seconds: age at which an unanswered request of a half-closed connection is probed (a client
            that is gone looks like one that only stopped sending).
        gateway_bytes: bodies and unsent answers of all connections together.
        connections: open connections; beyond it the kernel's queue waits.
    """

    header_bytes: int = 16 * KIB
    header_fields: int = 100
    body_bytes: int = 64 * MIB
    instead: str = ""
    header_seconds: float = 10.0
    body_seconds: float = 20.0
    idle_seconds: float = 75.0
    write_seconds: float = 20.0
    byte_rate: int = 256 * KIB
    linger_seconds: float = 2.0
    wait_seconds: float = 2.0
    probe_seconds: float = 0.5
    gateway_bytes: int = 128 * MIB
    connections: int = 10_000

    def body_time(self, received: int) -> float:
        """Seconds a body may have taken when `received` bytes of it are there."""
        return self.body_seconds + received / self.byte_rate

    def write_time(self, unsent: int) -> float:
        """Seconds an answer may take of which `unsent` bytes are left."""
        return self.write_seconds + unsent / self.byte_rate
