"""What one gateway said last."""

from __future__ import annotations

from changeover.controller.members import GatewayState
from tests.controller.house import acknowledged


def test_prepared_tables_are_forgotten_when_they_are_in_force() -> None:
    """Those of later epochs and of other models are kept."""
    gateway = GatewayState(1, 1, ready=True)
    gateway.prepared = {(1, 6): None, (1, 7): None, (1, 8): None, (2, 5): None}
    gateway.acknowledge(acknowledged(7, {3: 1}), 99)
    assert sorted(gateway.prepared) == [(1, 8), (2, 5)]
    assert gateway.leases == {3: 1}
    assert (gateway.has_acknowledged(1, 7), gateway.has_acknowledged(1, 8)) == (True, False)


def test_an_error_counts_when_the_gateway_is_in_service() -> None:
    """What it said while it was joining is asked again."""
    gateway = GatewayState(1, 1)
    gateway.prepared = {(1, 7): "no channel yet", (1, 8): None}
    assert not gateway.has_prepared(1, [7, 8])
    assert gateway.has_prepared(1, [8])
    gateway.in_service()
    assert (gateway.has_prepared(1, [7]), gateway.has_prepared(1, [8])) == (False, True)
    gateway.prepared[(1, 7)] = "no channel yet"
    assert gateway.has_prepared(1, [7, 8])
