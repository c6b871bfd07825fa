"""A door with the usual limits, checked for leaks at the end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.gateway.door.served import Served, serving


@pytest.fixture
def door() -> Iterator[Served]:
    """A running door; whatever the test did, nothing of the budget is held after it."""
    with serving() as served:
        yield served
        served.until(lambda: served.server.connections == 0 or served.server.in_flight == 0)
    assert served.server.budget_used == 0
    assert served.server.connections == 0
