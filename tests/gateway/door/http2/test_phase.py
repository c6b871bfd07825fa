"""Where a connection is."""

from __future__ import annotations

from changeover.gateway.door.http2 import phase
from changeover.gateway.door.http2.phase import Phase


def test_phases_are_ordered_and_drawn() -> None:
    """The order is the one that comparisons rely on, and the picture shows each of them."""
    assert Phase.OPENING < Phase.OPEN < Phase.LEAVING < Phase.LEFT < Phase.LINGER < Phase.GONE
    assert all(one.name in (phase.__doc__ or "") for one in Phase)
