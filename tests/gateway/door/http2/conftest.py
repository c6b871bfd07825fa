"""A door with the usual limits, checked for leaks at the end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.gateway.door.http2.served import Served, serving


@pytest.fixture
def door2() -> Iterator[Served]:
    """A running HTTP/2 door."""
    with serving() as served:
        yield served
