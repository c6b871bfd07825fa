"""Sized bodies."""

from __future__ import annotations

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from changeover.gateway.door.body import SizedBody


@given(st.binary(min_size=1, max_size=500), st.integers(1, 60), st.integers(0, 5))
def test_any_split_gives_the_same(data: bytes, size: int, lead: int) -> None:
    """However the bytes arrive, the body is the same and the rest is not taken."""
    body = SizedBody(len(data))
    wire = data + b"next"
    at = 0
    while not body.done:
        piece = b"." * lead + wire[at : at + size]
        at += body.feed(piece, lead) - lead
    assert bytes(body.view()) == data
    assert at == len(data)


def test_view_is_read_only() -> None:
    """The application cannot change a body, and it outlives the collector."""
    body = SizedBody(3)
    body.feed(b"abc", 0)
    view = body.view()
    del body
    assert view.readonly
    assert view == b"abc"


def test_claim_alone_costs_no_memory() -> None:
    """A large body that was only claimed takes no memory; what arrived takes its own.

    In a process of its own, so that nobody else's memory comes or goes meanwhile.
    """
    code = (
        "import os; from changeover.gateway.door.body import SizedBody\n"
        "def resident(): return int(open('/proc/self/statm').read().split()[1]) * os.sysconf('SC_PAGE_SIZE')\n"
        "before = resident(); claims = [SizedBody(64 << 20) for _ in range(8)]; claims[0].feed(b'x' * 1000, 0)\n"
        "claimed = resident(); body = SizedBody(32 << 20); body.feed(b'x' * (32 << 20), 0)\n"
        "print(claimed - before, resident() - claimed)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=True, text=True)
    claimed, arrived = map(int, told.stdout.split())
    assert claimed < 8 << 20
    assert arrived > 24 << 20
